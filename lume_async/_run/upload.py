"""Uploads a local file to the server's staging area: streamed, continued where a connection broke, and checked."""

import hashlib
import os
import re
import stat
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from anyio import to_thread

from lume_async._base import arguments
from lume_async._base.words import counted
from lume_async._http.sender import Sender
from lume_async._run.transfer import OnProgress, Reporter
from lume_async._wire import upload_endpoints
from lume_async._wire.answers import PROBLEM
from lume_async._wire.call import Call
from lume_async._wire.upload_endpoints import Stored, WholeFile
from lume_async.errors import ApiError, InvalidRequestError, NotSupportedError
from lume_async.models import plain_text

CHUNK = 256 * 1024

_PREFIX = 32
"""The number of characters of a checksum in the name of a file on the server."""
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
T = TypeVar("T")


async def upload(
    sender: Sender,
    path: str | os.PathLike[str],
    flow_version: str | None,
    *,
    name: str | None = None,
    by_content: bool = False,
    sha256: str | None = None,
    progress: OnProgress | None = None,
) -> str:
    """Upload the file; return its `source_path` on the server.

    Args:
        name: the name of the file on the server; default: the name in `path`.
        by_content: put a part of the checksum in front of the name, so that the same content has the same name, in
            place of a prefix that is unique for every call.
        sha256: the checksum of the file in hex, if it is known.

    Raises:
        InvalidRequestError: the file does not exist, or the server refused it.
        ApiError: the server received other bytes, or the file changed during the upload.
    """
    file = Path(arguments.path(path, "path", InvalidRequestError))
    if flow_version is not None:
        plain_text(flow_version, "flow_version")
    source = _Source(file, await to_thread.run_sync(_stat, file), Reporter(progress))
    plain = _UNUSUAL.sub("_", name or file.name)[-80:].lstrip(".") or "file"
    sha256 = sha256 or await source.sha256()
    prefix = sha256[:_PREFIX] if by_content else uuid.uuid4().hex
    whole = WholeFile(f"{prefix}-{plain}", source.size, sha256)
    stored = await _Transfer(sender, source, whole, flow_version).carried_out()
    await source.check()
    if stored.sha256 != sha256:
        raise ApiError(
            f"{file.name!r} arrived changed: {stored.bytes:,} of {counted(source.size, 'byte')}, with another "
            "checksum; upload it again"
        )
    return stored.source_path


class _Transfer:
    """The requests of one upload.

    After a failed request, the server is asked how much it has, and is sent the rest. The client's `Retry` decides
    whether and when; it counts only successive attempts that brought the server nothing.
    """

    def __init__(self, sender: Sender, source: "_Source", file: WholeFile, flow_version: str | None) -> None:
        self._sender, self._source, self._file, self._flow_version = sender, source, file, flow_version
        self._failures = 0
        self._is_afresh = False  # begun again, which happens at most once
        self._farthest = 0
        """The largest number of bytes that the server is known to have had."""

    async def carried_out(self) -> Stored:
        attempts = 0
        while True:
            try:
                return await (self._continued() if attempts else self._begun())
            except ApiError as caught:
                error = caught
            attempts += 1
            self._failures += 1
            error.attempts = attempts
            await self._source.check()
            delay = self._sender.retry.delay(error, self._failures, self._sender.rng)
            if delay is None:
                raise error
            self._sender.observer.retrying("PATCH /v1/uploads/{name}", attempts, delay, error)
            await self._sender.clock.sleep(delay)

    async def _begun(self) -> Stored:
        content = self._source.content
        return await self._sent(upload_endpoints.begin(self._file, content, flow_version=self._flow_version))

    async def _continued(self) -> Stored:
        """Send the missing rest; everything if the server can't name it, or has another file."""
        try:
            held = await self._sender.send(upload_endpoints.held(self._file), once=True)
            if held is not None and held.is_complete:
                stored = await self._sender.send(upload_endpoints.stored(self._file), once=True)
                if stored.sha256 == self._file.sha256:
                    return stored
                held = None
        except NotSupportedError:
            held = None
        if held is None or held.offset > self._file.size:
            return await self._begun()
        offset = held.offset
        if offset > self._farthest:
            self._farthest, self._failures = offset, 0
        try:
            stored = await self._sent(
                upload_endpoints.resume(self._file, lambda: self._source.content(offset), offset=offset)
            )
            if stored.sha256 == self._file.sha256 or self._is_afresh:
                return stored
        except InvalidRequestError as error:
            if self._is_afresh or f"{PROBLEM}other-content" not in error.body:
                raise
        # Together they are another file: the server's part was damaged, or is of one with the same name.
        await self._source.check()
        self._is_afresh = True
        return await self._begun()

    async def _sent(self, call: Call[T]) -> T:
        try:
            return await self._sender.send(call, once=True)
        except InvalidRequestError as error:
            # Another request has continued, completed or removed the upload: ask again.
            error.retryable = error.status_code == 409 or (
                error.status_code == 404 and call.method == "PATCH"
            )
            raise


class _Source:
    """The file, which must not change while it is sent."""

    def __init__(self, file: Path, found: os.stat_result, reporter: Reporter) -> None:
        self._file, self._found, self._reporter = file, found, reporter
        self.size = found.st_size

    def content(self, start: int = 0) -> "_Content":
        """Return the bytes from `start` on, for one attempt."""
        return _Content(self._file, start, self.size, self._reporter)

    async def sha256(self) -> str:
        """Return the checksum in hex. Raises `ApiError` if the file changes meanwhile."""
        # In pieces, unlike `sha256_of`: a thread that reads a large file can't be cancelled.
        digest, content = hashlib.sha256(), _Content(self._file, 0, self.size, Reporter(None))
        try:
            async for chunk in content:
                digest.update(chunk)
        except OSError:
            await self.check()
            raise
        finally:
            content.close()
        return digest.hexdigest()

    async def check(self) -> None:
        """Raise the error of the user's function, or `ApiError` if the file has changed."""
        if self._reporter.failure is not None:
            raise self._reporter.failure
        try:
            now = await to_thread.run_sync(_stat, self._file)
        except InvalidRequestError:
            how = "it was removed"
        else:
            if (now.st_size, now.st_mtime_ns) == (self._found.st_size, self._found.st_mtime_ns):
                return
            how = "it became shorter" if now.st_size < self.size else "it was written to"
        raise ApiError(
            f"{self._file.name!r} was changed while it was sent ({how}): upload it again when it is complete",
            retryable=False,
        )


class _Content(AsyncIterator[bytes]):
    """The file's bytes from `start` on, for one attempt; `close` it at the end of the attempt.

    Not a generator: during a step it could not be closed, and the file would stay open.
    """

    def __init__(self, file: Path, start: int, size: int, reporter: Reporter) -> None:
        self._file = file
        self._at, self._size = start, size
        self._reporter = reporter
        self._stream: BinaryIO | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk. Raises `OSError` if the file can't be read, or has shrunk: the server would wait."""
        if self._at == self._size:
            raise StopAsyncIteration
        chunk = await to_thread.run_sync(self._read)
        if not chunk:
            raise OSError(f"{self._file.name!r} became shorter while it was sent")
        self._at += len(chunk)
        self._reporter.report(self._at, self._size)
        return chunk

    def close(self) -> None:
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def _read(self) -> bytes:
        if self._stream is None:
            self._stream = self._file.open("rb")
            self._stream.seek(self._at)
        if self._closed:  # by `close`, before the file was open
            self._stream.close()
            return b""
        return self._stream.read(min(CHUNK, self._size - self._at))


def _stat(file: Path) -> os.stat_result:
    path = os.fspath(file)
    try:
        found = file.stat()
    except OSError as error:
        raise InvalidRequestError(
            f"there is no file at the path {path!r} ({error.strerror}): no request was sent"
        ) from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder: pass a file in it" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise InvalidRequestError(f"{path!r} is {what}; no request was sent")
    return found
