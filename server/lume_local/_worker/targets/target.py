"""The interface between a target and the engine. A new kind is one file here, and a line in `target_kinds`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lume_local._shared.failing import Obstacle

VALUES = "values"
"""The kind of the steps of the values that no later row may repeat."""
Step = dict[str, Any]
"""The work left for one target once a run has committed: plain JSON, with the `kind` of the target."""
Begin = Callable[[Step], None]


class TargetError(Obstacle):
    """A target can't be written, or a committed step can't be published."""


def refuse_overtaken(step: Step) -> None:
    """Raise `TargetError` if a later run has written to the step's place."""
    if why := step.get("overtaken"):
        raise TargetError(why)


class StepKind(Protocol):
    """Carries out one kind of steps."""

    @staticmethod
    def publish(step: Step) -> None:
        """Carry out the step from `prepare`; repeating it is harmless. Raises OSError or `TargetError`.

        A step with `overtaken` must not replace anything: it raises that reason unless it was already carried out.
        """

    @staticmethod
    def abandon(step: Step) -> None:
        """Undo a partly executed step, the one given to `begin`; repeating it is harmless. Raises as `publish`."""


class Target(StepKind, Protocol):
    """One place for the rows of a run.

    The engine calls `check` before it reads anything, builds a file of the rows in the run's folder, then calls
    `prepare`, first on the rejects' target. Their results are the commit, one small file; `publish` then carries the
    steps out in the same order. A process can be killed between any two instructions:
    - before the commit nothing of the run may be visible, and everything begun outside of its folder is undone by
      `abandon`: in the same process, or in another one, from the steps given to `begin` alone;
    - after it every step is carried out, by this process or another one, perhaps more than once.

    Attributes:
        suffix: `.parquet`, `.csv` or `.ndjson`: the form in which `prepare` wants the rows.
        location: for the run's `target_locations`.
        place: equal for two targets (or a source) if one would replace the other.
    """

    suffix: str
    location: str
    place: str

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        """`part` is `mapped` or `rejects`; `place` is JSON, which the server derives from the flow."""

    def check(self) -> None:
        """Find mistakes before anything is read. Raises `TargetError`."""

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Do everything that can fail before anything is visible; return the remaining step. Raises `TargetError`.

        `built` is a durable file in the run's folder, which lasts until the step is carried out. Call `begin` before
        anything is created elsewhere: it returns once the step is noted durably.
        """
        ...
