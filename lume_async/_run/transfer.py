"""The common parts of uploads and downloads."""

import hashlib
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Protocol, TypeAlias

from lume_async._base import arguments
from lume_async.errors import ApiError

OnProgress: TypeAlias = Callable[[int, int | None], object]
"""A plain function, called on the event loop with the bytes that were transferred and their total, or None."""


class _Table(Protocol):
    """A table of pandas, polars or pyarrow; a series has no columns."""

    @property
    def columns(self) -> object: ...

    def __arrow_c_stream__(self, requested_schema: object = None, /) -> object: ...


class _BinaryFile(Protocol):
    def read(self, size: int, /) -> bytes | Awaitable[bytes]: ...


_Pieces: TypeAlias = Iterable[bytes] | Iterable[Mapping[str, object]]
_AsyncPieces: TypeAlias = AsyncIterable[bytes] | AsyncIterable[Mapping[str, object]]
PlainData: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | _Pieces | _Table
SourceData: TypeAlias = PlainData | _BinaryFile | _AsyncPieces
"""The path of a file; `bytes`; a binary file object (plain or asynchronous); a plain or asynchronous iterable of
bytes or of rows (dicts); or a table of pandas, polars or pyarrow."""

SeedData: TypeAlias = Mapping[str, SourceData]
"""Seeds by name: the path of a CSV file, bytes, a binary file, rows (dicts) or a table; or the source path of an
upload (`upload://…`), which is not sent again."""


_BLOCK = 1024 * 1024


async def sha256_of(file: Path) -> str:
    """Return the checksum of a file, in hex."""
    from lume_async._base.threads import JobThread  # here: `lume_local.clean` needs only the types above

    worker = JobThread()

    def digest() -> str:
        found = hashlib.sha256()
        with file.open("rb") as opened:
            while not worker.closed and (block := opened.read(_BLOCK)):
                found.update(block)
        return found.hexdigest()

    try:
        return await worker.run(digest)
    finally:
        worker.close()


class Reporter:
    """Calls the function of a user; its error, kept as `failure`, ends the transfer: it is no broken connection."""

    def __init__(self, progress: OnProgress | None) -> None:
        self._progress = None if progress is None else arguments.plain_function(progress, "progress")
        self.failure: Exception | None = None

    def report(self, done: int, total: int | None) -> None:
        """Call the function. Raises `ApiError` if it failed: the caller raises `failure` in its place."""
        if self._progress is None:
            return
        try:
            self._progress(done, total)
            return
        except Exception as error:
            self.failure = error
        raise ApiError("the progress function failed")
