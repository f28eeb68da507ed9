"""The interface of a place where files arrive: a folder, a bucket, an SFTP site.

Listings are authoritative. Hints only say where to look sooner; they may come twice, late, in any order, or never.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from attrs import frozen

from lume_local._shared.obstacle import Obstacle

PAGE = 1000
"""Maximum number of entries in one page of a listing."""


@frozen
class ArrivalEntry:
    """A file as it is now, without its content.

    Attributes:
        path: the path as `from` and runs spell it: `incoming/a.csv`, `s3://bucket/a.csv`.
        seen: the version, as far as it is known without reading the file: size and time, or a tag. Another completely
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
        """How it notices files, for people: `inotify`, or `a listing every 10 s: nfs4 has no notifications`."""
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
