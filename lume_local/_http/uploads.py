"""The staging area for files that clients upload as sources of runs. A file is complete or does not exist."""

import asyncio
import errno
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from attrs import frozen

from lume_local._http.messages import Problem
from lume_local._runs.sources.paths import REPLAY, UPLOAD, UPLOAD_NAME
from lume_local._shared import no_links
from lume_local._shared.commit import sync_folder

_BLOCK = 1024 * 1024


@frozen
class StoredUpload:
    """A complete upload: the source path for runs, its size in bytes, its SHA-256 in hex."""

    source_path: str
    size: int
    sha256: str


class Uploads:
    """The files of one folder. `open` it before use.

    Args:
        quota: the maximum of bytes of all files, including incomplete ones; None for no limit.
    """

    def __init__(self, folder: Path, most_bytes: int, quota: int | None = None) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._quota = quota
        self._arriving: set[_Draft] = set()
        self._arrived = 0
        """The bytes of all uploads since the start."""

    def open(self) -> None:
        """Create the folder, and remove incomplete files of an earlier server. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with no_links.folder(self._folder):
            pass  # it is a folder, and not a link to one
        for draft in self._folder.glob(".*.draft"):
            draft.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        return UPLOAD_NAME.fullmatch(name) is not None and no_links.exists(self._folder / name)

    async def receive(self, name: str, chunks: AsyncIterator[bytes], length: int | None) -> StoredUpload:
        """Store a file under its name, replacing an existing one.

        Args:
            chunks: its content; an error in it leaves everything unchanged.

        Raises:
            Problem: the name is invalid, the file is too large, the disk or the quota is full.
        """
        if not UPLOAD_NAME.fullmatch(name) or name.startswith(REPLAY):
            raise Problem(
                "invalid-field",
                "name: must be 1 to 200 letters, digits, '.', '_' and '-', and begin with a letter or digit; but "
                f"not with {REPLAY}",
                field="name",
            )
        self._check_size(length or 0)
        # A file of the same name counts, too, until it is replaced.
        before = 0 if self._quota is None else -self._arrived + await asyncio.to_thread(self._stored)
        self._check_quota(before, length or 0)
        draft = _Draft(self._folder, length or 0)
        self._arriving.add(draft)
        try:
            block = bytearray()
            async for chunk in chunks:
                block += chunk
                self._check_size(draft.size + len(block))
                draft.reserved = max(draft.reserved, draft.size + len(block))
                self._check_quota(before)
                if len(block) >= _BLOCK:
                    await asyncio.to_thread(draft.write, bytes(block))
                    block.clear()
            stored = await asyncio.to_thread(draft.finish, bytes(block), self._folder / name)
            self._arrived += stored.size
            return stored
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Problem("storage-full", "remove what is not needed, then upload again") from None
            raise
        finally:
            self._arriving.discard(draft)
            draft.discard()

    def _stored(self) -> int:
        with no_links.folder(self._folder) as folder, os.scandir(folder) as entries:
            return sum(entry.stat().st_size for entry in entries if not entry.name.startswith("."))

    def _check_quota(self, before: int, more: int = 0) -> None:
        taken = before + self._arrived + sum(draft.reserved for draft in self._arriving) + more
        if self._quota is not None and taken > self._quota:
            raise Problem(
                "storage-full",
                f"uploads may have {self._quota:,} bytes together on this server, and with this one have {taken:,}: "
                "ask its operator to remove some, then upload again",
            )

    def _check_size(self, size: int) -> None:
        if size > self._most_bytes:
            raise Problem("too-large", f"an upload has at most {self._most_bytes:,} bytes on this server")


class _Draft:
    def __init__(self, folder: Path, reserved: int) -> None:
        self.reserved = reserved
        """Its size in the end, as far as it is known."""
        self._path = folder / f".{uuid.uuid4().hex}.draft"
        self._file = os.fdopen(no_links.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, block: bytes) -> None:
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)

    def finish(self, block: bytes, final: Path) -> StoredUpload:
        """Add the last block and put the file in place, durably."""
        self.write(block)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        no_links.replace(self._path, final)
        sync_folder(final.parent)
        return StoredUpload(UPLOAD + final.name, self.size, self._digest.hexdigest())

    def discard(self) -> None:
        """Remove an incomplete upload; a finished one stays."""
        try:
            self._file.close()  # flushes, so a full disk may fail here once more
        except OSError:
            pass
        finally:
            no_links.unlink(self._path)
