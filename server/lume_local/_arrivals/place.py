"""The interface of a place where files arrive (a folder, a bucket, an SFTP site), and the move of a processed file.

Listings are authoritative. Hints only say where to look sooner; they may come twice, late, in any order, or never.

A kill at any step of a move loses nothing, and nothing is overwritten. First, a rename gives the file a name of its
own in the new folder in one step, so that it can be checked undisturbed. Then it gets its final name, or a similar
one if that is taken. An interrupted move is found by the own name.
"""

import posixpath
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol, TypeAlias, TypeVar

from anyio.to_thread import run_sync
from attrs import frozen

from lume_local._arrivals.settings import Arrival
from lume_local._flow.patterns import Pattern
from lume_local._shared.failing import Obstacle
from lume_local._shared.identity import hash_of

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

    async def move(self, entry: ArrivalEntry, to: str) -> str | None:
        """Move a file to another path below what precedes the first wildcard of `from`; return its new path.

        None if it no longer matches the entry and was not moved; any version matches an empty `seen`. If its name is
        taken, it gets another. Called again after a kill, it finishes an interrupted move.
        """
        ...


class ListedPlace:
    """Common parts of places: the names of files below a folder, and listings made in a thread."""

    def __init__(self, arrival: Arrival, prefix: str) -> None:
        self._arrival, self._prefix, self._pattern = arrival, prefix, Pattern(arrival.pattern)
        self._moved = tuple(arrival.beside("", one) for one in (arrival.move, arrival.failed) if one)
        self._took = 0.0
        """The duration of the last listing in seconds."""

    def _path(self, relative: str) -> str:
        return f"{self._prefix}{relative}"

    def _relative(self, path: str) -> str | None:
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else None

    def _wanted(self, path: str, end: str = "/") -> str | None:
        """Return the relative path of a file that may arrive; None for any other."""
        relative = self._relative(path)
        if relative is None or self._is_left_out(relative, end) or not self._pattern.matches(relative):
            return None
        return relative

    def _is_left_out(self, relative: str, end: str = "/") -> bool:
        """Return whether a path is a moved file, a folder for moved files (which ends with `end`), or a marker."""
        path = self._path(relative)
        is_moved = f"{path}{end}".startswith(self._moved)
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


LONGEST = 255
"""The maximum length of a name in bytes, in common file systems."""


class Moves(Protocol):
    """The steps of a move in a place, by paths there. A place has its own errors."""

    async def seen(self, path: str) -> str | None:
        """Return the version of a file, which a rename keeps; None if there is no file."""
        ...

    async def take(self, path: str, own: str) -> bool:
        """Rename a file into a folder, which is created if it is missing; return False if the file is gone."""
        ...

    async def name(self, own: str, path: str) -> bool:
        """Rename a file; return False, without a change, if the name is taken."""
        ...

    async def remove(self, own: str) -> None: ...


async def put_aside(moves: Moves, path: str, target: str, seen: str, key: tuple[str, str]) -> str | None:
    """Move a file if it still is the version `seen`; return its name in the target's folder.

    None if it is gone or has been replaced; a replacement stays.

    Args:
        key: identifies this move among all into the folder, also after a kill.
    """
    own = posixpath.join(posixpath.dirname(target), f".{hash_of(key)[:32]}.lume")
    seen = seen or await moves.seen(own) or await moves.seen(path) or ""
    if await moves.seen(own) is None and (await moves.seen(path) != seen or not await moves.take(path, own)):
        return None
    if await moves.seen(own) != seen:  # replaced between the two steps above
        if not await moves.name(own, path):
            await moves.remove(own)  # replaced again: the file taken is no longer the latest
        return None
    number = 1
    while not await moves.name(own, name := numbered(target, number)):
        number += 1
    return posixpath.basename(name)


def numbered(path: str, number: int) -> str:
    """Return `a-2.csv.gz` for `a.csv.gz`, and so on, with a shorter stem if necessary; 1 returns the path itself."""
    if number == 1:
        return path
    folder, slash, name = path.rpartition("/")
    parted = ((stem, f"-{number}{suffixes}") for stem, suffixes in _parted(name))
    stem, rest = next((stem, rest) for stem, rest in parted if len(rest.encode()) < LONGEST)
    stem = stem.encode()[: LONGEST - len(rest.encode())].decode(errors="ignore")
    return f"{folder}{slash}{stem}{rest}"


def _parted(name: str) -> Iterator[tuple[str, str]]:
    """Yield the stem and what follows it: all suffixes, only the last, none, until a stem has room."""
    stem, dot, suffixes = name.partition(".")
    yield stem, f"{dot}{suffixes}"
    stem, dot, suffix = name.rpartition(".")
    yield stem, f"{dot}{suffix}"
    yield name, ""
