"""The staging area for files that clients upload for runs. A file is complete, or no run sees it.

Each request that begins an upload has its own draft; the last one to finish gets the name. The newest
resumable draft of a key is remembered by its name, even by the next server; other keys can't see it. A file is
replaced only by other content, so sending the same content for another run disturbs no run that reads it.
"""

import asyncio
import errno
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from lume_async._base.words import counted
from lume_local._http.exchange import BodyStream, Problem
from lume_local._http.requests import field_problem
from lume_local._http.uploading.incoming import (
    KEPT,
    PASSING,
    Announced,
    Draft,
    OtherContent,
    Reception,
    StoredUpload,
    TakenOver,
    key_of,
)
from lume_local._runs.sources.paths import REPLAY, UPLOAD, UPLOAD_NAME
from lume_local._shared import no_links
from lume_local._shared.commit import sync_folder
from lume_local._shared.identity import identity

Key = TypeVar("Key")
Value = TypeVar("Value")

ABANDONED = 24 * 3600
"""Seconds after which an incomplete upload that nobody has resumed is removed."""
_AT_ONCE = 100
_NOTED = 1000
"""The maximum number of remembered checksums, and of remembered names of files that were sent again."""


class HeldUpload(NamedTuple):
    """The received part of an upload: its size in bytes, and the size of the whole, None if unknown.

    Attributes:
        sha256: the checksum of a complete upload, which runs can read.
    """

    source_path: str
    size: int
    length: int | None
    sha256: str | None = None


class Uploads:
    """The files of one folder. `open` it before use.

    Args:
        quota: the maximum size in bytes of all files, including incomplete ones; None for no limit.
    """

    def __init__(self, folder: Path, most_bytes: int, quota: int | None = None) -> None:
        self._folder = folder
        self.most_bytes = most_bytes
        self._quota = quota
        self._drafts: set[Draft] = set()
        self._newest: dict[str, Draft] = {}
        """The resumable drafts, by their keys."""
        self._receptions: dict[Draft, Reception] = {}
        self._arrived = 0
        """The bytes of all uploads since the start."""
        self._digests: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._sent_again: OrderedDict[str, float] = OrderedDict()
        """When a file whose content existed already was last sent, by name."""
        self._placing = threading.Lock()

    def open(self) -> None:
        """Create the folder, find resumable drafts, and remove the others. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with no_links.folder(self._folder):
            pass  # it is a folder, not a link to one
        for passing in self._folder.glob(f".*.{PASSING}"):
            passing.unlink(missing_ok=True)
        found = [draft for path in self._folder.glob(f".*.{KEPT}") if (draft := Draft.found(path))]
        for draft in sorted(found, key=Draft.touched):
            self._remember(draft)

    def has(self, name: str) -> bool:
        return UPLOAD_NAME.fullmatch(name) is not None and no_links.exists(self._folder / name)

    async def held(self, name: str, owner: str) -> HeldUpload | None:
        """Return the received part of an upload that is complete or this owner's; None without one. Raises OSError.

        A request that still appends to it is ended.
        """
        source = UPLOAD + name
        while draft := self._newest.get(key_of(name, owner)):
            await self._stop(draft)
            with suppress(FileNotFoundError):  # it has just been completed
                return HeldUpload(source, await asyncio.to_thread(draft.pause), draft.announced.length)
            self._forget(draft)
        if not self.has(name):
            return None
        size, sha256 = await asyncio.to_thread(self._sum, self._folder / name)
        return HeldUpload(source, size, size, sha256)

    async def receive(
        self,
        name: str,
        body: BodyStream,
        announced: Announced,
        owner: str,
        *,
        is_kept: bool = False,
        is_all: bool = True,
    ) -> StoredUpload | None:
        """Store a file under its name, replacing other content; None if a part of it is still missing.

        Args:
            owner: the name of the key, which alone may resume the upload.
            body: the content; an error in it leaves everything unchanged.
            is_kept: whether the rest may come later, in other requests.
            is_all: whether the file ends with this body.

        Raises:
            Problem: the name is invalid, the file is too large, the disk or the quota is full, or the received bytes
                differ from the announcement.
        """
        if not UPLOAD_NAME.fullmatch(name) or name.startswith(REPLAY):
            raise field_problem(
                "name",
                "must be 1 to 200 letters, digits, '.', '_' and '-', and begin with a letter or digit; but not "
                f"with {REPLAY}",
            )
        length = announced.length or 0
        self._check_size(length)
        # A file of the same name counts, too, until it is replaced.
        check_quota = await self._quota_check()
        check_quota(length)
        draft = Draft.new(self._folder, key_of(name, owner), announced, is_kept=is_kept)
        draft.reserved = length
        self._remember(draft)
        return await self._append(draft, name, body, check_quota, is_all=is_all, at=0)

    async def resume(
        self, name: str, at: int, body: BodyStream, announced: Announced, owner: str, *, is_all: bool
    ) -> StoredUpload | None:
        """Append the body, whose place is `at`, to the received part of an upload. Otherwise as `receive`.

        Raises:
            Problem: as `receive`; or this owner has no such upload, or its size is not `at`.
        """
        draft = self._newest.get(key_of(name, owner))
        if draft is not None:
            await self._stop(draft)
            draft = self._newest.get(draft.key)
        if draft is None:
            if self.has(name):
                raise Problem(
                    "completed-upload", f"the upload {name} is complete: nothing can be added to it"
                )
            raise Problem("upload-not-found", f"there is no upload {name}: begin it")
        if unlike := draft.announced.unlike(announced):
            raise Problem("other-content", f"{unlike}: this is another file: upload it under another name")
        if at != draft.size:
            raise self._other_offset(draft)
        self._check_size(announced.length or 0)
        check_quota = await self._quota_check()
        reserved = max(announced.length or 0, draft.size)
        check_quota(reserved - draft.reserved)
        draft.reserved = reserved
        return await self._append(draft, name, body, check_quota, is_all=is_all, at=at)

    async def remove_abandoned(self) -> int:
        """Remove some uploads that nobody has resumed for a day; return how many. Raises OSError."""
        removed = 0
        for draft in list(self._newest.values()):
            try:
                is_old = time.time() - draft.touched() > ABANDONED
            except FileNotFoundError:
                is_old = True  # somebody has removed it
            if is_old and not draft.is_active:
                self._discard(draft)
                removed += 1
            if removed == _AT_ONCE:
                break
        return removed

    async def _append(
        self,
        draft: Draft,
        name: str,
        body: BodyStream,
        check_quota: Callable[[int], None],
        *,
        is_all: bool,
        at: int,
    ) -> StoredUpload | None:
        """Receive the body from `at` on; return the upload once it is complete."""

        def check(size: int) -> None:
            self._check_size(size)
            length = draft.announced.length
            if length is not None and size > length:
                words = f"{counted(length, 'byte was', 'bytes were')} announced, not {size:,} or more"
                raise Problem("inconsistent-upload-length", words)
            draft.reserved = max(draft.reserved, size)
            check_quota(0)

        put = partial(self._put, name) if is_all else None
        reception = self._receptions[draft] = Reception(draft, body, at, check)
        try:
            stored = await reception.received(put)
        except TakenOver:
            raise self._other_offset(draft) from None
        except OtherContent as error:
            self._discard(draft)
            raise Problem("other-content", f"{error}: send it again") from None
        except FileNotFoundError:
            self._forget(draft)
            raise Problem(
                "upload-not-found", "the upload was removed in the meantime: begin it again"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._discard(draft)
            raise Problem("storage-full", "remove what is not needed, then upload again") from None
        except Problem as problem:
            if problem.kind != "request-timeout":
                self._discard(draft)
            raise
        else:
            if stored is not None:
                self._arrived += stored.size if stored.is_new else 0
                self._forget(draft)
            return stored
        finally:
            if self._receptions.get(draft) is reception:
                del self._receptions[draft]
            if draft in self._drafts and self._newest.get(draft.key) is not draft:
                self._discard(draft)  # it can't be resumed

    def remove_old(self, path: Path, before: float) -> bool:
        """Remove a complete upload unless it was sent after `before`; return whether it was. Raises OSError."""
        with self._placing:
            if max(path.lstat().st_mtime, self._sent_again.get(path.name, 0.0)) > before:
                return False
            no_links.unlink(path)
        return True

    def _put(self, name: str, draft: Path, size: int, sha256: str) -> StoredUpload:
        """Put a complete file in place, durably, unless one with the same content exists. Raises OSError."""
        final, written = self._folder / name, identity(draft)
        while True:
            found = _identity(final)
            is_there = found.startswith(f"{size}-") and self._has_content(final, sha256)
            with self._placing:
                if _identity(final) != found:
                    continue  # another request was faster and may have stored the same content
                if is_there:
                    no_links.unlink(draft)
                    _note(self._sent_again, name, time.time())
                else:
                    no_links.replace(draft, final)
                    _note(self._digests, (name, written), sha256)
            sync_folder(self._folder)
            return StoredUpload(UPLOAD + name, size, sha256, is_new=not is_there)

    def _has_content(self, path: Path, sha256: str) -> bool:
        try:
            return self._sum(path)[1] == sha256
        except OSError:
            return False  # it was removed or can't be read, so it is replaced

    async def _stop(self, draft: Draft) -> None:
        """Stop the request that appends to a draft."""
        reception = self._receptions.get(draft)
        if reception is not None:
            await reception.stop()

    def _remember(self, draft: Draft) -> None:
        """Remember a draft; remove an earlier one of the same name that no request appends to."""
        self._drafts.add(draft)
        if draft.is_kept:
            before = self._newest.get(draft.key)
            self._newest[draft.key] = draft
            if before is not None and not before.is_active:
                self._discard(before)

    def _forget(self, draft: Draft) -> None:
        self._drafts.discard(draft)
        if self._newest.get(draft.key) is draft:
            del self._newest[draft.key]

    def _discard(self, draft: Draft) -> None:
        self._forget(draft)
        draft.discard()

    def _other_offset(self, draft: Draft) -> Problem:
        return Problem(
            "mismatching-upload-offset",
            f"the server has {counted(draft.size, 'byte')} of this upload, or another request continues it: ask for "
            "its offset, and continue there",
            {"Upload-Offset": str(draft.size)},
        )

    def _sum(self, path: Path) -> tuple[int, str]:
        """Return the size and the SHA-256 of a file. Raises OSError."""
        with os.fdopen(no_links.open(path), "rb") as file:
            found, size = identity(file.fileno()), os.fstat(file.fileno()).st_size
            sha256 = self._digests.get((path.name, found)) or hashlib.file_digest(file, "sha256").hexdigest()
        if (path.name, found) not in self._digests:
            _note(self._digests, (path.name, found), sha256)
        return size, sha256

    async def _quota_check(self) -> Callable[[int], None]:
        """Return a check of the quota for so many more bytes, which raises `Problem`."""
        if self._quota is None:
            return lambda more: None
        before = -self._arrived + await asyncio.to_thread(self._stored)

        def check(more: int) -> None:
            taken = before + self._arrived + sum(draft.reserved for draft in self._drafts) + more
            if self._quota is not None and taken > self._quota:
                raise Problem(
                    "storage-full",
                    f"uploads may have {self._quota:,} bytes together on this server, and with this one have "
                    f"{taken:,}: ask its operator to remove some, then upload again",
                )

        return check

    def _stored(self) -> int:
        with no_links.folder(self._folder) as folder, os.scandir(folder) as entries:
            return sum(entry.stat().st_size for entry in entries if not entry.name.startswith("."))

    def _check_size(self, size: int) -> None:
        if size > self.most_bytes:
            raise Problem(
                "too-large", f"an upload has at most {self.most_bytes:,} bytes on this server", self.limits
            )

    @property
    def limits(self) -> dict[str, str]:
        """Return the header with the limits of uploads."""
        return {"Upload-Limit": f"max-size={self.most_bytes}, max-age={ABANDONED}"}


def _identity(path: Path) -> str:
    """Return the identity of a file; empty if it doesn't exist."""
    try:
        return identity(path)
    except OSError:
        return ""


def _note(noted: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    noted[key] = value
    while len(noted) > _NOTED:
        noted.popitem(last=False)
