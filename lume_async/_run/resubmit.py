"""Submits corrected rejects of a run: the rule by which the same content is processed once."""

import os
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anyio import to_thread

from lume_async._base.words import counted
from lume_async._http.sender import Sender
from lume_async._run.data_in import definition_at
from lume_async._run.once import earlier_runs, holder, key_of
from lume_async._run.reject_columns import UnreadableError, has_reject_columns
from lume_async._run.row_files import RowFormat, csv_format, local_file
from lume_async._run.row_text import dialect_of
from lume_async._run.state import RunState
from lume_async._run.submit import StartedRun, submit
from lume_async._run.transfer import OnProgress, Reporter, SourceData, sha256_of
from lume_async._run.upload import upload
from lume_async.errors import InvalidRequestError
from lume_async.models import RunRequest, RunStatus

PARENT = "resubmit_of"
"""The key in a run's metadata that links it to the run whose rejects it processes."""
CONTENT = "resubmit_sha256"
"""The key in a run's metadata with the checksum of the corrected content."""
_OWN_PLACE = ("{run_id}", "{source_path}")
"""With one of these in `target.mapped`, a run on an upload has its own output; the default has the first."""


async def resubmit(
    sender: Sender,
    old: RunState,
    refresh: Callable[[], Awaitable[None]],
    corrected: SourceData,
    *,
    force: bool,
    progress: OnProgress | None,
) -> StartedRun:
    """Start a run of the same flow version on corrected rejects of a run, or find the run that has this content.

    Raises:
        InvalidRequestError: the run can't be repeated, or `corrected` is not its rejects.
    """
    Reporter(progress)  # checks it, before anything is sent

    async def definition() -> dict[str, Any]:
        return await definition_at(sender, await _ended(old, refresh)) or {}

    async def rows_as() -> RowFormat:
        return csv_format(dialect_of(await definition()))

    async with local_file(corrected, rows_as, "corrected") as file:
        shown = str(file) if isinstance(corrected, str | os.PathLike) else "the content"
        if not force and not old.is_terminal:
            await to_thread.run_sync(_refuse_others, file, shown, old)  # before any request
        flow_version = await _ended(old, refresh)
        if not force:
            _refuse_without_rejects(old)
            await to_thread.run_sync(_refuse_others, file, shown, old)
        sha256 = await sha256_of(file)
        marks, key = {PARENT: old.id, CONTENT: sha256}, None
        if not force:
            same = {"flow_version": flow_version}
            earlier = await earlier_runs(sender, same, lambda run: _has(run, marks), old.created_at)
            if (held := holder(earlier)) is not None:
                return held
            _refuse_replacing(old, await definition())
            key = key_of("resubmit", f"{old.id} {sha256}", earlier)
        name = f"{old.id}{''.join(file.suffixes[-2:])}"  # the same for the same content of the same run
        source_path = await upload(
            sender, file, flow_version, name=name, by_content=not force, sha256=sha256, progress=progress
        )
    request = RunRequest(flow_version, source_path, {**(old.run_metadata or {}), **marks}, seeds=old.seeds)
    new_key = key or uuid.uuid4().hex
    return await submit(sender, request, new_key, own_key=key is not None, on_duplicate="attach")


async def _ended(old: RunState, refresh: Callable[[], Awaitable[None]]) -> str:
    """Return the flow version of the run, after checking that it has ended. Raises `InvalidRequestError`."""
    if not old.is_terminal:
        await refresh()
    if not old.is_terminal:
        raise InvalidRequestError(f"run {old.id} is {old.status}: wait for it, or cancel it")
    if old.flow_version is None or old.source_path is None:
        raise InvalidRequestError(f"the server does not report the flow version and source of run {old.id}")
    return old.flow_version


def _has(run: RunState, marks: dict[str, str]) -> bool:
    """Return whether the run's metadata has these entries."""
    return marks.items() <= (run.run_metadata or {}).items()


def _refuse_without_rejects(old: RunState) -> None:
    if old.status == RunStatus.PARTIAL_FAILED:
        return
    instead = (
        "these are those of another run" if old.has_output else "correct its source or its flow and run that"
    )
    raise InvalidRequestError(
        f"run {old.id} is {old.status} and wrote no rejects: {instead}; or pass force=True to process this content "
        "anyway"
    )


def _refuse_others(file: Path, shown: str, old: RunState) -> None:
    """Check that the file has the columns of a run's rejects: otherwise it may be the source itself."""
    try:
        seen = has_reject_columns(file)
    except UnreadableError as error:
        reason = str(error)
    else:
        if seen is None:
            raise InvalidRequestError(
                f"corrected: {shown} is compressed with zstd, so it can't be checked whether it is a rejects file: "
                "decompress it, or pass force=True to process it anyway"
            )
        if not seen:
            raise InvalidRequestError(
                f"corrected: {shown} has no _lume_ columns, so it is not a rejects file: its rows may already be in "
                f"the output of run {old.id}. Correct the rows of its rejects and keep their columns, or pass "
                "force=True to process this content anyway"
            )
        return
    raise InvalidRequestError(f"corrected: {shown} is damaged or can't be read: {reason}")


def _refuse_replacing(old: RunState, definition: dict[str, Any]) -> None:
    """Check that the rows of a run are kept: the next run must write to another place, or append to a table."""
    mapped = (definition.get("target") or {}).get("mapped")
    if isinstance(mapped, str) and not any(name in mapped for name in _OWN_PLACE):
        rows = old.metadata.metrics.rows_mapped
        raise InvalidRequestError(
            f"all runs of {old.flow_version} write {mapped}: the corrected rows would replace the "
            f"{counted(rows, 'row')} of run {old.id} there. Put {{run_id}} into target.mapped of a new "
            "version and run that on the whole source; or copy that output, then pass force=True"
        )
