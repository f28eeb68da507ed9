"""Submits corrected rejects of a run, after a look at their columns; the same content is processed once."""

import bz2
import gzip
import lzma
import os
import uuid
import zipfile
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from anyio import to_thread

from lume_async._base.words import counted
from lume_async._http.sender import Sender
from lume_async._run.data_in import definition_at
from lume_async._run.once import earlier_runs, holder, key_of
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
SOURCE = "resubmit_source"
"""The key in a run's metadata with the source whose rows were rejected first."""
_OWN_PLACE = ("{run_id}", "{source_path}")
"""With one of these in `target.mapped`, a run on an upload has its own output; the default has the first."""
_OURS = b"_lume_"
_LOOKED_AT = 1024 * 1024
"""Bytes to read of a text file: more than a header, or the first object of an array, takes."""
_ZSTD, _ZIP, _PARQUET = b"\x28\xb5\x2f\xfd", b"PK", b"PAR1\x15"  # without \x15: the name of a column
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""The first bytes of compressed files, and the functions that open them."""
_CHUNK = 1024 * 1024
_SHEETS = ("xl/sharedStrings.xml", "xl/worksheets/")
_MOST = 256
"""The maximum number of chunks to read of a workbook."""
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Byte order marks and blanks, which may precede an array."""


async def resubmit(
    sender: Sender,
    old: RunState,
    refresh: Callable[[], Awaitable[None]],
    corrected: SourceData,
    *,
    force: bool,
    progress: OnProgress | None,
) -> StartedRun:
    """Start a run on corrected rejects of a run, or find the one on this content. Raises `InvalidRequestError`."""
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
            earlier = await earlier_runs(
                sender, same, lambda run: marks.items() <= (run.run_metadata or {}).items(), old.created_at
            )
            if (held := holder(earlier)) is not None:
                return held
            _refuse_replacing(old, await definition())
            key = key_of("resubmit", f"{old.id} {sha256}", earlier)
        name = f"{old.id}{''.join(file.suffixes[-2:])}"  # the same for the same content of the same run
        source_path = await upload(
            sender, file, flow_version, name=name, by_content=not force, sha256=sha256, progress=progress
        )
    metadata = {SOURCE: old.source_path, **(old.run_metadata or {}), **marks}
    request = RunRequest(flow_version, source_path, metadata, seeds=old.seeds)
    new_key = key or uuid.uuid4().hex
    return await submit(sender, request, new_key, own_key=key is not None, on_duplicate="attach")


async def _ended(old: RunState, refresh: Callable[[], Awaitable[None]]) -> str:
    """Return the flow version of the run, after checking that it has ended. Raises `InvalidRequestError`."""
    if not old.is_terminal:
        await refresh()
    if not old.is_terminal:
        raise InvalidRequestError(f"run {old.id} is {old.status}: wait for it")
    if old.flow_version is None or old.source_path is None:
        raise InvalidRequestError(f"the server does not report the flow version and source of run {old.id}")
    return old.flow_version


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


# -- the columns of rejects


class UnreadableError(Exception):
    """The file can't be read, or is damaged or incomplete."""


def has_reject_columns(path: Path) -> bool | None:
    """Return whether the file has them; None if unknown. Raises UnreadableError."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
        if begin.startswith(_ZSTD):
            return None
        if begin.startswith(_ZIP):
            return _in_workbook(path)
        if begin.startswith(_PARQUET):
            return _in_parquet(path)
        unpack = next((opened for magic, opened in _PACKED.items() if begin.startswith(magic)), open)
        with unpack(path, "rb") as file:
            begin = file.read(_LOOKED_AT)
        # The header of CSV, or the first object of NDJSON or an array.
        if not begin.lstrip(_BLANK).startswith(b"["):
            begin = begin.partition(b"\n")[0]
        return _OURS in begin.replace(b"\0", b"").lower()  # UTF-16 has a NUL beside each letter
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, lzma.LZMAError, zlib.error) as error:
        raise UnreadableError(str(error)) from None  # for example cut off, or encrypted


def _in_parquet(path: Path) -> bool:
    """Look in the footer, which has the names of the columns verbatim."""
    with path.open("rb") as file:
        size = file.seek(-8, 2) + 8
        length = int.from_bytes(file.read(4), "little")
        if file.read(4) != b"PAR1":
            raise EOFError("it has no footer")
        file.seek(max(0, size - 8 - length))
        return _OURS in file.read(length).lower()


def _in_workbook(path: Path) -> bool:
    left = _MOST
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if not name.startswith(_SHEETS):
                continue
            with book.open(name) as part:
                tail = b""
                while left and (chunk := part.read(_CHUNK)):
                    if _OURS in (tail + chunk).lower():
                        return True
                    tail, left = chunk[-len(_OURS) :], left - 1
    return False
