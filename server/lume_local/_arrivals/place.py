"""The interface of a place where files arrive: a folder, a bucket, an SFTP site.

Listings are authoritative. Hints only say where to look sooner; they may come twice, late, in any order, or never.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol, TypeAlias, TypeVar

from anyio.to_thread import run_sync
from attrs import frozen

from lume_local._arrivals.settings import Arrival
from lume_local._flow.patterns import Pattern
from lume_local._shared.failing import Obstacle

T = TypeVar("T")
PAGE = 1000
"""Maximum number of entries in one page of a listing."""


@frozen
class ArrivalEntry:
    """A file as it is now, without its content.

    Attributes:
        path: the path as `from` and runs spell it: `incoming/a.csv`, `s3://bucket/a.csv`.
        seen: the version, where it can be known without reading the file: size and time, or a tag. Another completely
            written content has another one.
        bytes: the size.
        modified: when it was last written, by the clock of the place, in seconds since 1970.
        problem: why it can't be the source of a run, and what to do; empty if it can.
    """

    path: str
    seen: str
    bytes: int
    modified: float
    problem: str = ""


class PlaceTrouble(Obstacle):
    """A place, or a file in it, can't be used at the moment. The message says why and what to do.

    `may_pass` if the place itself is unavailable, so that trying other files now is useless.
    """


Found: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]
"""Takes the paths of hints; an empty list means that anything may have changed, so a listing is due. Returns once the
outcome is durable and the hint can be forgotten, or the files wait in memory for the next listing. Never raises."""


class ArrivalPlace(Protocol):
    """One place, valid while the block of `opened` lasts. All operations raise `PlaceTrouble`."""

    @property
    def watched(self) -> str:
        """How new files are noticed, in words: `inotify`, or `a listing every 10 s: nfs4 has no notifications`."""
        ...

    @property
    def every(self) -> float:
        """Seconds from the end of a listing to the next one; more if a listing takes long."""
        ...

    def pages(self) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        """Yield all files that match `from`, in pages of at most `PAGE`; memory does not grow with their number."""
        ...

    async def look(self, paths: Sequence[str]) -> Sequence[ArrivalEntry | None]:
        """Return these files as they are now; None for each that does not exist or does not match."""
        ...

    async def contents(self, entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
        """Return an identification of each file's content: equal for equal content.

        None if a file no longer matches its entry or is being written; `PlaceTrouble` if it can't be read. Derived
        from `seen` if reading would cost too much.
        """
        ...

    async def exist(self, paths: Sequence[str]) -> Sequence[float | None]:
        """Return, for markers, when each of these files, matching or not, was written; None if it does not exist."""
        ...

    async def hints(self, found: Found) -> None:
        """Pass paths that may have changed to `found` until cancelled; return at once if the place has no hints."""
        ...

    async def move(self, entry: ArrivalEntry, folder: str) -> str | None:
        """Move a file into `folder`, below what precedes the first wildcard of `from`; return its new path.

        None if it no longer matches the entry and was not moved. If its name is taken, it gets another.
        Called again after a kill, it finishes an interrupted move.
        """
        ...


class ListedPlace:
    """Common parts of places: the names of files below a folder, and listings made in a thread.

    Args:
        prefix: the prefix of their paths.
    """

    def __init__(self, arrival: Arrival, prefix: str) -> None:
        self._arrival, self._prefix, self._pattern = arrival, prefix, Pattern(arrival.pattern)
        self._moved = None if arrival.moved_to is None else f"{arrival.moved_to}/"
        self._took = 0.0
        """The duration of the last listing in seconds."""

    def _path(self, relative: str) -> str:
        return f"{self._prefix}{relative}"

    def _relative(self, path: str) -> str | None:
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else None

    def _is_left_out(self, relative: str, end: str = "/") -> bool:
        """Return whether a path is a moved file, the folder for moved files (which ends with `end`), or a marker."""
        path = self._path(relative)
        is_moved = self._moved is not None and f"{path}{end}".startswith(self._moved)
        return is_moved or self._arrival.marked_by(path) is not None

    async def _paged(
        self,
        entries: Generator[ArrivalEntry, None, None],
        in_thread: Callable[[Callable[[], list[ArrivalEntry]]], Awaitable[list[ArrivalEntry]]],
    ) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        began = time.monotonic()
        try:
            while page := await in_thread(lambda: list(islice(entries, PAGE))):
                yield page
        finally:
            with suppress(ValueError):  # cancelled while its thread still runs, which then ends on its own
                entries.close()
        self._took = time.monotonic() - began


async def in_thread(call: Callable[[], T]) -> T:
    """Return the result of a call in a thread, which is abandoned on cancellation."""
    return await run_sync(call, abandon_on_cancel=True)
