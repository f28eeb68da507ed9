"""Uploads a local file to the server's staging area: streamed, and checked at the end."""

import hashlib
import os
import re
import stat
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Self

from anyio import to_thread

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._run.transfer import OnProgress, Reporter
from lume_async._wire import endpoints
from lume_async.errors import ApiError, InvalidRequestError
from lume_async.models import plain_text

CHUNK = 256 * 1024
SLOWEST = 128 * 1024
"""Bytes per second: an upload may take the request timeout plus the time at this rate."""

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")


async def upload(
    sender: Sender,
    path: str | os.PathLike[str],
    flow_version: str | None,
    *,
    name: str | None = None,
    prefix: str | None = None,
    progress: OnProgress | None = None,
) -> str:
    """Upload the file; returns its `source_path` on the server.

    Args:
        name: of the file on the server; default: that of `path`.
        prefix: put in front of the name; default: one that is unique for every call, so that a retry overwrites only
            the file of this call.

    Raises:
        InvalidRequestError: the file does not exist.
        ApiError: the server refused it or received other bytes, or the file changed during the upload.
    """
    file = Path(arguments.path(path, "path", InvalidRequestError))
    if flow_version is not None:
        plain_text(flow_version, "flow_version")
    before = await to_thread.run_sync(_stat, file)
    plain = _UNUSUAL.sub("_", name or file.name)[-80:].lstrip(".") or "file"
    attempts: list[_Content] = []
    reporter = Reporter(progress)

    def content() -> _Content:
        if reporter.failure is not None:
            raise reporter.failure
        if attempts and attempts[-1].is_short:
            raise _change_error(file, "it became shorter")
        attempts.append(_Content(file, before.st_size, reporter))
        return attempts[-1]

    call = endpoints.upload(
        f"{prefix or uuid.uuid4().hex}-{plain}",
        content,
        size=before.st_size,
        flow_version=flow_version,
        patience=before.st_size / SLOWEST,
    )
    try:
        stored = await sender.send(call)
    except ApiError:
        if reporter.failure is None and not (attempts and attempts[-1].is_short):
            raise
        stored = None
    if reporter.failure is not None:
        raise reporter.failure
    if stored is None:
        raise _change_error(file, "it became shorter")
    after = await to_thread.run_sync(_stat, file)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _change_error(file, "it was written to")
    if stored.sha256 != attempts[-1].digest.hexdigest():
        raise ApiError(
            f"{file.name!r} arrived changed: {stored.bytes:,} of {before.st_size:,} bytes, with another checksum; "
            "upload it again"
        )
    return stored.source_path


class _Content(AsyncIterator[bytes]):
    """The file's bytes for one attempt; `close` it at the end of the attempt.

    Not a generator: during a step it could not be closed, and the file would stay open.

    Attributes:
        digest: the SHA-256 of the bytes read so far.
        is_short: whether the file has become shorter than its size at the start.
    """

    def __init__(self, file: Path, size: int, reporter: Reporter) -> None:
        self.digest = hashlib.sha256()
        self.is_short = False
        self._file = file
        self._left = self._size = size
        self._reporter = reporter
        self._stream: BinaryIO | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises `OSError` if the file can't be read, or became shorter: the server would wait."""
        if self._left == 0:
            raise StopAsyncIteration
        chunk = await to_thread.run_sync(self._read)
        if not chunk:
            self.is_short = True
            raise OSError(f"{self._file.name!r} became shorter while it was sent")
        self.digest.update(chunk)
        self._left -= len(chunk)
        self._reporter.report(self._size - self._left, self._size)
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def _read(self) -> bytes:
        if self._stream is None:
            self._stream = self._file.open("rb")
        if self._closed:  # by `close`, before the file was open
            self._stream.close()
            return b""
        return self._stream.read(min(CHUNK, self._left))


def _change_error(file: Path, how: str) -> ApiError:
    return ApiError(
        f"{file.name!r} was changed while it was sent ({how}): upload it again when it is complete",
        retryable=False,
    )


def _stat(file: Path) -> os.stat_result:
    try:
        found = file.stat()
    except OSError as error:
        found, reason = None, error.strerror
    else:
        reason = "not a file"
    if found is None or not stat.S_ISREG(found.st_mode):
        raise InvalidRequestError(
            f"there is no file at the path {os.fspath(file)!r} ({reason}): no request was sent"
        )
    return found
