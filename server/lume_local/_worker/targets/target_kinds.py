"""The kinds of targets, and operations on the steps of all of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_local._flow.databases import DATABASE
from lume_local._flow.lakes import DELTA, ICEBERG
from lume_local._shared import commit
from lume_local._shared.folders import PARTS
from lume_local._worker.targets.file_targets import STORE, FileTarget, PartsTarget, StoreTarget
from lume_local._worker.targets.target import VALUES, Step, StepKind, Target

if TYPE_CHECKING:
    from lume_local._worker.targets.lake_target import LakeTarget

KINDS: dict[str, type[Target]] = {
    commit.FILE: FileTarget,
    PARTS: PartsTarget,
    STORE: StoreTarget,
    "s3": StoreTarget,  # in the commits of an older version
}
"""The kinds of files. Those of tables are imported by the first run that has one."""


def lake_of(kind: str) -> "type[LakeTarget]":
    """Return the target of tables of an open format."""
    if kind == DELTA:
        from lume_local._worker.targets.delta_target import DeltaTarget

        return DeltaTarget
    if kind == ICEBERG:
        from lume_local._worker.targets.iceberg_target import IcebergTarget

        return IcebergTarget
    raise KeyError(kind)


def _target_kind(kind: str) -> type[Target]:
    if kind == DATABASE:
        from lume_local._worker.targets.database_target import DatabaseTarget

        return DatabaseTarget
    return KINDS[kind] if kind in KINDS else lake_of(kind)


def _kind_of(step: Step) -> type[StepKind]:
    """Return what carries out a step: a target, or the values that no later row may repeat."""
    if step["kind"] == VALUES:
        from lume_local._worker.targets.earlier_values import EarlierValues

        return EarlierValues
    return _target_kind(step["kind"])


def target_of(part: str, place: dict[str, Any], run_id: str) -> Target:
    """Return the target for a place such as `{"kind": "file", "path": …}`."""
    return _target_kind(place["kind"])(part, place, run_id)


def publish(record: dict[str, Any], folder: Path) -> None:
    """Publish the commit of a run with this folder, or the rest of it. Raises OSError or `TargetError`.

    Repeating a step at once is harmless. After hours it may not be, if another run has replaced the object meanwhile.
    """
    steps, before, why = record["steps"], commit.done(folder), commit.overtaken(folder)
    for number, step in enumerate(steps[before:], before + 1):
        _kind_of(step).publish(step | {"overtaken": why} if why else step)
        if step["kind"] in (STORE, "s3") and number < len(steps):
            commit.note_done(folder, number)


def vacate(part: str, place: dict[str, Any], run_id: str) -> list[Step]:
    """Return the step that removes an earlier run's file where this run has nothing to write.

    An object stays, as permission to write objects need not include deleting them.
    """
    step = commit.vacating(Path(place["path"]), part, run_id) if place["kind"] == commit.FILE else None
    return [step] if step else []


def abandon(folder: Path) -> None:
    """Undo everything begun for a run that has not committed. Raises OSError or `TargetError`."""
    for step in commit.begun(folder):
        _kind_of(step).abandon(step)
    commit.forget_begun(folder)


def finish(folder: Path) -> dict[str, Any] | None:
    """Finish a run whose process is gone: publish and return its record, or undo it and return None."""
    record = commit.committed(folder)
    if record is None:
        abandon(folder)
    else:
        publish(record, folder)
    return record
