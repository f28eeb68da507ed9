"""The waiting files of an arrival, in memory: until they are unchanged long enough, or nothing else is in the way.

Pure: the time is an argument. After a kill, the first listing of the next server finds them again.
"""

import heapq
from collections.abc import Sequence

from attrs import define, field

from lume_local._arrivals.place import ArrivalEntry
from lume_local._arrivals.settings import Arrival

MOST_WAITING = 10_000
"""Files kept in memory; the next listing finds further ones."""


@define
class WaitingFile:
    """A file that waits.

    Attributes:
        entry: the file as it was last seen.
        since: when it was first seen in this state.
        due: when to look at it again; None: with the next listing or hint.
        why: the reason, in words.
        run_id: the run that must end first.
        content: the identification of its content once read, so that a long wait does not read it again.
    """

    entry: ArrivalEntry
    since: float
    due: float | None
    why: str
    run_id: str | None = None
    content: bytes | None = None


class WaitingFiles:
    """The waiting files of one arrival, by path."""

    def __init__(self) -> None:
        self.files: dict[str, WaitingFile] = {}
        self._due: list[tuple[float, str]] = []

    @property
    def is_full(self) -> bool:
        return len(self.files) >= MOST_WAITING

    @property
    def trouble(self) -> str:
        """A note that there is no room for more files; empty if there is."""
        if not self.is_full:
            return ""
        return (
            f"{MOST_WAITING:,} files wait, which is the most: another one is taken only if it is ready at once. See "
            "what they wait for, and remove those that will never be ready"
        )

    def seen(self, entry: ArrivalEntry, now: float) -> float:
        """Record a file as it is now, if there is room; return since when it has been so."""
        before = self.files.get(entry.path)
        if before is not None and before.entry.seen == entry.seen:
            return before.since
        if before is not None or not self.is_full:
            self.files[entry.path] = WaitingFile(entry, now, None, "it has just been noticed")
        return now

    def content(self, entry: ArrivalEntry) -> bytes | None:
        """Return the identification of a file's content, if it was read in its current state."""
        waiting = self.files.get(entry.path)
        return None if waiting is None or waiting.entry.seen != entry.seen else waiting.content

    def was_read(self, entry: ArrivalEntry, content: bytes) -> None:
        waiting = self.files.get(entry.path)
        if waiting is not None and waiting.entry.seen == entry.seen:
            waiting.content = content

    def wait(self, path: str, why: str, due: float | None, run_id: str | None = None) -> None:
        """Record what a file waits for; without room, the next listing finds it again."""
        waiting = self.files.get(path)
        if waiting is None:
            return
        waiting.why, waiting.run_id = why, run_id
        if due is not None and waiting.due != due:
            heapq.heappush(self._due, (due, path))
        waiting.due = due

    def drop(self, path: str) -> None:
        self.files.pop(path, None)

    def pop_due(self, now: float, most: int) -> Sequence[str]:
        """Return the files that are due; they stay until dropped."""
        found: list[str] = []
        while self._due and self._due[0][0] <= now and len(found) < most:
            due, path = heapq.heappop(self._due)
            if self._is_current(due, path):
                self.files[path].due = None
                found.append(path)
        return found

    def next_due(self) -> float | None:
        while self._due and not self._is_current(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _is_current(self, due: float, path: str) -> bool:
        return path in self.files and self.files[path].due == due

    def until_now(self, run_id: str, now: float) -> bool:
        """Make files that wait for this run due, as it has ended; return whether there are any."""
        found = [path for path, one in self.files.items() if one.run_id == run_id]
        for path in found:
            self.wait(path, "the run before has ended", now)
        return bool(found)


@define
class Readiness:
    """Whether a file is ready.

    Attributes:
        why: why it is not; empty if it is ready.
        due: when it is ready if nothing happens; None if unknown.
    """

    why: str = ""
    due: float | None = field(default=None)


def readiness(
    arrival: Arrival, entry: ArrivalEntry, since: float, now: float, marked: float | None, clock: float
) -> Readiness:
    """Return whether a file is complete.

    Quiet time is measured with this machine's clock between two looks, not by the times of files: the writer's
    clock may be wrong.

    Args:
        since: when it was first seen in this state.
        marked: when its marker was written, by the clock of the place; None if there is none.
        clock: the current time, in seconds since 1970.
    """
    if arrival.marker is None:
        if now - since >= arrival.quiet:
            return Readiness()
        return Readiness(
            f"it is ready once it has not changed for {arrival.quiet:g} s", since + arrival.quiet
        )
    marker = arrival.marked(entry.path)
    if marked is None:
        return Readiness(f"its marker {marker} is not there")
    if marked < entry.modified:
        ahead = entry.modified - clock
        skew = f", and {ahead:,.0f} s ahead of this machine's clock" if ahead > 1 else ""
        return Readiness(
            f"it was written {entry.modified - marked:,.1f} s after its marker {marker}{skew}: write the marker last"
        )
    return Readiness()
