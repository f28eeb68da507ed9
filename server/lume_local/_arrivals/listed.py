"""Common parts of places: the names of their files, and listings made in a thread."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from anyio.to_thread import run_sync

from lume_local._arrivals.place import PAGE, ArrivalEntry
from lume_local._arrivals.settings import Arrival
from lume_local._flow.patterns import Pattern

T = TypeVar("T")
Entries = list[ArrivalEntry]


class ListedPlace:
    """The files below a folder.

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
        in_thread: Callable[[Callable[[], Entries]], Awaitable[Entries]],
    ) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        began = time.monotonic()
        try:
            while page := await in_thread(lambda: list(islice(entries, PAGE))):
                yield page
        finally:
            with suppress(ValueError):  # cancelled while its thread still runs, which then ends by itself
                entries.close()
        self._took = time.monotonic() - began


async def in_thread(call: Callable[[], T]) -> T:
    """Return the result of a call in a thread, which is abandoned on cancellation."""
    return await run_sync(call, abandon_on_cancel=True)
