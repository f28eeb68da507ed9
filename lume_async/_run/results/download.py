"""Downloads a file that a run has written: streamed, resumed where a connection broke, checked, and whole."""

import base64
import hashlib
import io
import os
import re
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from anyio import CancelScope, to_thread
from multidict import CIMultiDict

from lume_async._base import arguments, platform
from lume_async._base.words import counted
from lume_async._http.sender import Sender
from lume_async._run.transfer import OnProgress, Reporter
from lume_async._wire.headers import (
    CONTENT_DISPOSITION,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    IF_RANGE,
    RANGE,
    REPR_DIGEST,
)
from lume_async._wire.row_endpoints import Part, output
from lume_async.errors import ApiConnectionError, ApiError, InvalidRequestError

_BLOCK = 1024 * 1024
_CHANGES = 10
"""The maximum number of times that a resumed download may find another file."""
_NAME = re.compile(r'filename="([A-Za-z0-9._-]{1,200})"')
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")
_STRONG = re.compile(r'"[^"]*"')
"""An ETag of exactly these bytes. A weak one (`W/"…"`) can't show that a part belongs to the bytes so far."""


async def download(
    sender: Sender, run_id: str, part: Part, to: str | os.PathLike[str], progress: OnProgress | None
) -> Path:
    """Download an output into a file, or a folder under the server's name; return its path. Raises `ApiError`."""
    if not isinstance(part, str) or part not in ("mapped", "rejects"):
        raise InvalidRequestError(
            f"output must be 'mapped' or 'rejects', not {arguments.shown(part)}; no request was sent"
        )
    reporter = Reporter(progress)
    target = Path(arguments.path(to, "to", InvalidRequestError))
    folder = target if await to_thread.run_sync(os.path.isdir, target) else target.parent
    if not await to_thread.run_sync(os.path.isdir, folder):
        raise InvalidRequestError(f"to: there is no folder {str(folder)!r:.200}; no request was sent")
    draft = _Draft(folder / f".{target.name[:50]}.{uuid.uuid4().hex}.part", reporter)
    try:
        await to_thread.run_sync(draft.open, target)
        try:
            await _received(sender, run_id, part, draft)
        except ApiError:
            if reporter.failure is None:
                raise
        if reporter.failure is not None:
            raise reporter.failure
        place = target if folder != target else folder / (draft.name or f"{run_id}-{part}")
        await to_thread.run_sync(draft.publish, place)
        return place
    finally:
        draft.discard()  # at once: a second cancellation must not come between


async def _received(sender: Sender, run_id: str, part: Part, draft: "_Draft") -> None:
    """Receive the whole file, as long as each series of attempts brings more of it."""
    while True:
        before = draft.progress
        try:
            return await sender.send(output(run_id, part, draft))
        except ApiError as error:
            if error.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and draft.size:
                if draft.is_whole:  # only the end mark was cut off
                    return
                draft.start_over()
                continue
            is_cut = isinstance(error, ApiConnectionError) or error.status_code == HTTPStatus.PARTIAL_CONTENT
            if not is_cut or draft.progress <= before:
                raise


class _Draft:
    """The part of the file that has arrived; also the receiver of each attempt's body (see `Receiver`).

    Attributes:
        size: the number of bytes that have arrived.
        progress: grows with each new byte: the number of times the file was another one, and the most bytes of it
            that have arrived.
        name: the name of the file, if the server has given one.
    """

    def __init__(self, path: Path, reporter: Reporter) -> None:
        self._path, self._reporter = path, reporter
        self._opening = threading.Lock()
        self._is_discarded = False
        self._file: BinaryIO = io.BytesIO()
        self._sha256 = hashlib.sha256()
        self._block = bytearray()
        self._etag: str | None = None
        self._digest: str | None = None
        self._total: int | None = None
        self.size = 0
        self.progress = 0, 0
        self.name: str | None = None

    def open(self, target: Path) -> None:
        """Create the file, unless it was discarded meanwhile: a cancellation does not wait for this thread."""
        try:
            with suppress(FileNotFoundError):
                target.lstat()  # fails for a name that is too long
            with self._opening:
                if not self._is_discarded:
                    self._file = self._path.open("xb")
            return
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
        raise InvalidRequestError(
            f"to: {str(self._path.parent)!r} can't be written: {reason}; no request was sent"
        )

    @property
    def headers(self) -> dict[str, str]:
        """Headers of an attempt: for the rest of the file, if its ETag can show that it is still the same."""
        if self.size == 0 or self._etag is None:
            return {}
        return {RANGE: f"bytes={self.size}-", IF_RANGE: self._etag}

    @property
    def is_whole(self) -> bool:
        """Whether all of it is known to have arrived."""
        return self.size == self._total if self._digest is None else self._digest == self._checksum()

    def start_over(self) -> None:
        """Ask for the whole file next."""
        self._replaced()
        self._etag = None

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Read the headers of a response: it has the whole file, or the requested rest."""
        self._block.clear()
        headers = CIMultiDict(headers)  # a transport of the user's may have any mapping
        found = _DIGEST.search(headers.get(REPR_DIGEST, ""))
        etag, digest = headers.get(ETAG, ""), found[1] if found else None
        if status == HTTPStatus.PARTIAL_CONTENT:
            self._check_part(headers.get(CONTENT_RANGE, ""), etag, digest)
            self._digest = self._digest or digest
        else:
            if self.size:
                await to_thread.run_sync(self._restart)
            if self._etag is not None and etag != self._etag:
                self._replaced()
            length = headers.get(CONTENT_LENGTH, "")
            self._total = int(length) if length.isdigit() else None
            self._etag = etag if _STRONG.fullmatch(etag) else None
            self._digest = digest
            name = _NAME.search(headers.get(CONTENT_DISPOSITION, ""))
            self.name = name[1] if name and name[1].strip(".") else None
        self._report()

    def _check_part(self, content_range: str, etag: str, digest: str | None) -> None:
        """Raise `ApiError` unless the part continues the file: the same representation, from this byte on."""
        found = _RANGE.fullmatch(content_range)
        continues = found is not None and int(found[1]) == self.size
        if self.size == 0 and not continues:
            raise ApiError("the server sent another part of the file than was asked for", status_code=206)
        known = self._etag, self._total, self._digest
        told = etag, int(found[2]) if found else None, digest
        differs = any(None not in pair and pair[0] != pair[1] for pair in zip(known, told, strict=True))
        if self.size and (not continues or self._etag is None or differs):
            self.start_over()
            words = "the server may have continued another file than it began: ask for all of it"
            raise ApiError(words, status_code=206, retryable=True)
        self._total = told[1]

    async def write(self, chunk: bytes) -> None:
        self._block += chunk
        if len(self._block) >= _BLOCK:
            await self.flush()

    async def flush(self) -> None:
        """Keep the bytes so far, even if the connection broke."""
        block = bytes(self._block)
        self._block.clear()
        if block:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._keep, block)
            self._report()

    def publish(self, place: Path) -> None:
        """Check the file and put it in place. Raises `ApiError`."""
        if self._total is not None and self.size != self._total:
            raise ApiConnectionError(
                f"the file has {counted(self._total, 'byte')}, and {self.size:,} arrived"
            )
        if self._digest is not None and self._digest != self._checksum():
            raise ApiError("the file arrived changed: its checksum is another one; download it again")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            platform.replace(self._path, place)
            return
        except OSError as error:
            reason = error.strerror
        hint = "" if platform.IS_POSIX else ": close it in all programs, and download it again"
        raise ApiError(f"{str(place)!r} can't be written: {reason}{hint}")

    def discard(self) -> None:
        """Remove the unpublished file."""
        with self._opening:
            self._is_discarded = True
            self._file.close()
            if not isinstance(self._file, io.BytesIO):  # the file was created
                self._path.unlink(missing_ok=True)

    def _keep(self, block: bytes) -> None:
        try:
            self._file.write(block)
            self._file.flush()
        except OSError as error:  # not to be taken for a broken connection
            reason = error.strerror
        else:
            self._sha256.update(block)
            self.size += len(block)
            self.progress = max(self.progress, (self.progress[0], self.size))
            return
        raise ApiError(f"{str(self._path.parent)!r} can't be written: {reason}")

    def _checksum(self) -> str:
        return base64.b64encode(self._sha256.digest()).decode()

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._sha256, self.size = hashlib.sha256(), 0

    def _replaced(self) -> None:
        changes = self.progress[0] + 1
        if changes > _CHANGES:
            raise ApiError("the file has changed at each attempt to download it: try again later")
        self.progress = changes, 0

    def _report(self) -> None:
        self._reporter.report(self.size, self._total)
