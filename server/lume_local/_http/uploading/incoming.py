"""Files that are being uploaded: drafts, kept beside the uploads until they are complete, and their bodies.

A resumable draft needs nothing but its file, so a killed server loses none: the file's name contains the upload and
the announced facts, and its size is the number of bytes received. Any number of requests may try to append; only the
last one that took a turn can.
"""

import asyncio
import hashlib
import os
import re
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import anyio

from lume_async._base.words import counted
from lume_local._http.exchange import BodyStream
from lume_local._shared import no_links

KEPT, PASSING = "part", "draft"
"""The suffixes of drafts: the first outlives its request and its server, the second doesn't."""
_FILE = re.compile(rf"\.([0-9a-f]{{32}})-([0-9]{{1,15}}|any)-([0-9a-f]{{64}}|any)-[0-9a-f]{{32}}\.{KEPT}")


class TakenOver(Exception):
    """Another request continues this upload."""


class Turn:
    """The right of one request to append, until another request takes it."""


class OtherContent(Exception):
    """The received content differs from the announcement. The message says how."""


class Announced(NamedTuple):
    """The announced length of the whole file and its SHA-256 in hex; None where the client has announced none."""

    length: int | None = None
    sha256: str | None = None

    def unlike(self, other: "Announced") -> str:
        """Return why the two can't describe the same file; empty if they can."""
        if self.length is not None and other.length not in (None, self.length):
            return f"{counted(self.length, 'byte was', 'bytes were')} announced, not {other.length:,}"
        if None not in (self.sha256, other.sha256) and self.sha256 != other.sha256:
            return f"the SHA-256 {self.sha256} was announced, not {other.sha256}"
        return ""


class StoredUpload(NamedTuple):
    """A complete upload: its source path for runs, size in bytes, and SHA-256 in hex.

    Attributes:
        is_new: whether the sent file was stored; False if a file with the same content existed.
    """

    source_path: str
    size: int
    sha256: str
    is_new: bool = True


Put = Callable[[Path, int, str], StoredUpload]
"""Puts a complete file in place; called with its path, its size and its SHA-256."""


def key_of(name: str, owner: str) -> str:
    """Return the digest that stands for an upload's name and owner in the names of drafts, to keep these short."""
    return hashlib.sha256(f"{owner}\n{name}".encode()).hexdigest()[:32]


class Draft:
    """One draft. Its methods may be called in any thread.

    Attributes:
        key: see `key_of`.
        size: the number of bytes received.
        reserved: how many bytes of the quota it uses.
        is_kept: whether it outlives a request that ends early.
    """

    def __init__(self, path: Path, key: str, announced: Announced, size: int, digest: Any) -> None:
        self._path, self.key, self.announced = path, key, announced
        self.size = self.reserved = size
        self.is_kept = path.suffix == f".{KEPT}"
        self._digest = digest
        """The running digest of the received bytes; None if an earlier server received some of them."""
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._turn: Turn | None = None

    @classmethod
    def new(cls, folder: Path, key: str, announced: Announced, *, is_kept: bool) -> "Draft":
        """Create the file. Raises OSError."""
        length, sha256 = announced.length, announced.sha256
        said = f"{'any' if length is None else length}-{sha256 or 'any'}"
        path = folder / f".{key}-{said}-{uuid.uuid4().hex}.{KEPT if is_kept else PASSING}"
        os.close(no_links.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        return cls(path, key, announced, 0, hashlib.sha256())

    @classmethod
    def found(cls, path: Path) -> "Draft | None":
        """Return the draft that an earlier server left; None if the file is not a draft. Raises OSError."""
        match = _FILE.fullmatch(path.name)
        if match is None:
            return None
        length, sha256 = (None if said == "any" else said for said in match.group(2, 3))
        announced = Announced(None if length is None else int(length), sha256)
        return cls(path, match[1], announced, no_links.stat(path).st_size, None)

    @property
    def is_active(self) -> bool:
        """Whether a request may append to it now."""
        return self._turn is not None

    def touched(self) -> float:
        """Return when the last bytes arrived, in seconds since 1970. Raises OSError."""
        return no_links.stat(self._path).st_mtime

    def take(self) -> Turn:
        """Take a turn to append, which ends all earlier turns. Does not block."""
        turn = self._turn = Turn()
        return turn

    def pause(self) -> int:
        """End the present turn; return how many bytes are stored and survive a power cut. Raises OSError."""
        self._turn = None
        with self._lock:
            self._close()
            handle = no_links.open(self._path)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            return self.size

    def write(self, turn: Turn, at: int, block: bytes) -> None:
        """Append a block whose place is `at`. Raises `TakenOver`, OSError."""
        with self._lock:
            self._write(turn, at, block)

    def _write(self, turn: Turn, at: int, block: bytes) -> None:
        file = self._opened(turn)
        if at != self.size:
            raise TakenOver
        try:
            file.write(block)
            file.flush()
        except OSError:
            self._close()
            raise
        self._digest.update(block)
        self.size += len(block)

    def _opened(self, turn: Turn) -> BinaryIO:
        if turn is not self._turn:
            raise TakenOver
        if self._file is None:
            self._file = file = os.fdopen(no_links.open(self._path, os.O_RDWR), "r+b")
            if self._digest is None:
                self._digest = hashlib.file_digest(file, "sha256")
            file.truncate(self.size)  # a failed write has left more
            file.seek(self.size)
        return self._file

    def leave(self, turn: Turn, at: int, block: bytes) -> None:
        """End a turn, after a last block if possible; the beginning of the block may have been written already."""
        with self._lock:
            with suppress(TakenOver, OSError):
                if at <= self.size:
                    self._write(turn, self.size, block[self.size - at :])
            self.reserved = self.size
            if turn is self._turn:
                self._turn = None
                self._close()

    def finish(self, turn: Turn, put: Put) -> StoredUpload:
        """Check the file, make it durable, and put it in place. Raises `TakenOver`, `OtherContent`, OSError."""
        with self._lock:
            file = self._opened(turn)
            found = Announced(self.size, self._digest.hexdigest())
            if unlike := self.announced.unlike(found):
                raise OtherContent(unlike)
            os.fsync(file.fileno())
            self._close()
            stored = put(self._path, self.size, self._digest.hexdigest())
            self._turn = None
            return stored

    def discard(self) -> None:
        """Remove an incomplete upload; a finished one stays."""
        self._turn = None
        with self._lock:
            self._close()
            no_links.unlink(self._path)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # it flushes, so a full disk may fail here once more
                file.close()


_BLOCK = 1024 * 1024
_PATIENCE = 5.0
"""Seconds in which a stopped request must store its data; then it is abandoned."""


class Reception:
    """Appends a body to a draft, until it ends or another request wants to append.

    Args:
        at: the place of the body in the file.
        check: called with the future size of the draft before the bytes are stored.
    """

    def __init__(self, draft: Draft, body: BodyStream, at: int, check: Callable[[int], None]) -> None:
        self._draft, self._body, self._at, self._check = draft, body, at, check
        self._block = bytearray()
        self._turn = draft.take()
        self._scope, self._ended = anyio.CancelScope(), anyio.Event()

    async def stop(self) -> None:
        """End it as a lost connection would: the client may have lost the connection without the server knowing."""
        self._scope.cancel()
        with anyio.move_on_after(_PATIENCE):
            await self._ended.wait()

    async def received(self, put: Put | None) -> StoredUpload | None:
        """Receive the body; if it is the file's last part, `put` the file in place.

        Data that arrived before an error is kept. Raises `TakenOver`, `OtherContent`, OSError, and the errors of
        `check` and the body.
        """
        try:
            with self._scope:
                async for chunk in self._body.chunks:
                    self._block += chunk
                    self._check(self._at + len(self._block))
                    if len(self._block) >= _BLOCK:
                        await self._write()
                await self._write()
                return None if put is None else await asyncio.to_thread(self._draft.finish, self._turn, put)
            raise TakenOver
        finally:
            rest = bytes(self._block) + self._body.left()
            leave = asyncio.get_running_loop().run_in_executor(
                None, self._draft.leave, self._turn, self._at, rest
            )
            try:
                await asyncio.shield(leave)  # the request is being cancelled, perhaps twice
            finally:
                self._ended.set()

    async def _write(self) -> None:
        block = bytes(self._block)
        await asyncio.to_thread(self._draft.write, self._turn, self._at, block)
        self._block.clear()  # not earlier: a cancelled thread may not have begun
        self._at += len(block)
