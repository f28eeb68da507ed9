"""What an arrival requires of a place where files arrive: a folder, a bucket, a site.

The listing is the truth. Hints only say where to look sooner: they may come twice, late, in any order, or not at all.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from attrs import frozen

from lume_local._shared.obstacle import Obstacle

PAGE = 1000
"""Entries of one page of a listing, at most."""


@frozen
class ArrivalEntry:
    """A file as it is now, without having been read.

    Attributes:
        path: as `from` writes it, and as a run names its source: `incoming/a.csv`, `s3://bucket/a.csv`.
        seen: what can be told of its content without reading it: size and time, or a tag. Other content that was
            completely written has another one.
        bytes: its size.
        modified: when it was last written, by the clock of the place, in seconds since 1970.
        problem: why it can't be the source of a run, and what to do; empty if it can.
    """

    path: str
    seen: str
    bytes: int
    modified: float
    problem: str = ""


class PlaceTrouble(Obstacle):
    """A place, or a file of it, can't be used at the moment. The message says why and what to do.

    `may_pass` if the place itself is away or out of order: there is no use in asking for other files now.
    """


Found: TypeAlias = Callable[[Sequence[str]], Awaitable[None]]
"""Takes the paths of hints, or none: anything may have changed, and a listing is due. Returns once what became of
them is durable, so that the hint can be forgotten, or they wait in memory for the next listing. It never raises."""


class ArrivalPlace(Protocol):
    """One place, as long as the block lasts that opened it; see `opened`. All operations raise `PlaceTrouble`."""

    @property
    def watched(self) -> str:
        """For people, how it notices files: `inotify`, or `a listing every 10 s: nfs4 has no notifications`."""
        ...

    @property
    def every(self) -> float:
        """Seconds between the end of a listing and the next one; more where a listing takes long."""
        ...

    def pages(self) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        """All files that match `from`, in pages of at most `PAGE`; memory does not grow with their number."""
        ...

    async def look(self, paths: Sequence[str]) -> Sequence[ArrivalEntry | None]:
        """These files as they are now; None for each that is not there, or does not match."""
        ...

    async def contents(self, entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
        """What identifies the content of each: equal for equal content.

        None if a file is no longer the entry, or is being written; `PlaceTrouble` if it can't be read. Where reading
        would cost too much it is made of `seen`.
        """
        ...

    async def exist(self, paths: Sequence[str]) -> Sequence[float | None]:
        """For markers: when each of these files, matching or not, was written; None if it is not there."""
        ...

    async def hints(self, found: Found) -> None:
        """Pass paths that may have changed to `found` until cancelled; return at once if the place has no hints."""
        ...

    async def move(self, entry: ArrivalEntry, folder: str) -> str | None:
        """Move a file into a folder next to those before the first wildcard of `from`; its new path.

        None if it is no longer that entry, and was not moved. If its name is taken there, it gets another.
        Called again after a kill, it finishes what was begun.
        """
        ...
