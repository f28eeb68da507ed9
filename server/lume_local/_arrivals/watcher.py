"""Watches one arrival: lists its place, checks files that hints name, and settles files that are ready.

Its waiting files are held in memory; after a kill, the first listing of the next server finds them again.
"""

import heapq
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import TypeAlias

import anyio
from attrs import define, frozen

from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_local._arrivals.local_place import open_folder
from lume_local._arrivals.place import PAGE, ArrivalEntry, ArrivalPlace, PlaceTrouble, numbered
from lume_local._arrivals.settings import Arrival
from lume_local._arrivals.sftp_place import open_site
from lume_local._arrivals.store_place import open_bucket
from lume_local._arrivals.submission import Outcome, Refuses, Settles, Submissions, Waits
from lume_local._runs.deliveries.notices import refusal_notice
from lume_local._runs.health import why
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import ASIDE, Arrived, Move, RefusedFile, aside_of
from lume_local._runs.store.records import StoredRun, StoreFailed
from lume_local._runs.times import now_text

MOST_WAITING = 10_000
"""Files kept in memory; the next listing finds further ones."""


@define
class WaitingFile:
    """A file that waits.

    Attributes:
        entry: the file as it was last seen.
        since: when it was first seen in this state.
        due: when to look at it again; None: with the next listing or hint.
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
    def __init__(self) -> None:
        self.files: dict[str, WaitingFile] = {}

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
            "the reason of each, and remove those that will never be ready"
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
        """Record the reason for which a file waits; without room, the next listing finds it again."""
        if path in self.files:
            waiting = self.files[path]
            waiting.why, waiting.run_id, waiting.due = why, run_id, due

    def drop(self, path: str) -> None:
        self.files.pop(path, None)

    def pop_due(self, now: float, most: int) -> Sequence[str]:
        """Return the files that are due, the first ones first; they stay until dropped."""
        due = ((one.due, path) for path, one in self.files.items() if one.due is not None and one.due <= now)
        found = [path for _, path in heapq.nsmallest(most, due)]
        for path in found:
            self.files[path].due = None
        return found

    def next_due(self) -> float:
        """Return when the next file is due; infinity if none is."""
        return min((one.due for one in self.files.values() if one.due is not None), default=math.inf)

    def until_now(self, run_id: str, now: float) -> bool:
        """Make files that wait for this run due, as it has ended; return whether there are any."""
        found = [path for path, one in self.files.items() if one.run_id == run_id]
        for path in found:
            self.wait(path, "the run before has ended", now)
        return bool(found)


def readiness(
    arrival: Arrival, entry: ArrivalEntry, since: float, now: float, marked: float | None, clock: float
) -> tuple[str, float | None]:
    """Return why a file is not complete, empty if it is; and when it is if nothing happens, None if unknown.

    Quiet time is measured with this machine's clock between two looks, not by the times of files: the writer's
    clock may be wrong.

    Args:
        since: when it was first seen in this state.
        marked: when its marker was written, by the clock of the place; None if there is none.
        clock: the current time, in seconds since 1970.
    """
    if arrival.marker is None:
        if now - since >= arrival.quiet:
            return "", None
        return f"it is ready once it has not changed for {arrival.quiet:g} s", since + arrival.quiet
    marker = arrival.marked(entry.path)
    if marked is None:
        return f"its marker {marker} is not there", None
    if marked < entry.modified:
        ahead = entry.modified - clock
        skew = f", and {ahead:,.0f} s ahead of this machine's clock" if ahead > 1 else ""
        late = f"{entry.modified - marked:,.1f} s after its marker {marker}{skew}"
        return f"it was written {late}: write the marker last", None
    return "", None


_log = logging.getLogger("lume_local")

RETRY = 10.0
"""Seconds before a failed operation is retried."""
MOST_QUEUED = 20_000
"""Runs that may wait in the server's queue; beyond that, files wait in their place."""
MOST_REFUSED = 10_000
"""Refused files whose removal is tracked."""
MOST_TAKEN = 100
"""Failed files that one request takes again."""
MOST_ASIDE = 100
"""Refused files in the folder for failed files whose removal is tracked, the newest."""
LONGEST_PAUSE = 3600.0
"""Maximum seconds before a crashed run is repeated; the first pause is `RETRY`, each further one thrice as long."""
MOST_NAMED = 3
"""Unmovable files to explain; once these can be moved, the next ones follow."""
_BATCH = 64 * 1024 * 1024
"""Bytes of files read by one call."""
_BATCH_FILES = 200


TakenAgain: TypeAlias = tuple[str, str | None, str | None]
"""The path of a file that was to be taken again, as it is listed; its new run, or why it has none yet."""


def opened(arrival: Arrival, roots: Roots) -> AbstractAsyncContextManager[ArrivalPlace]:
    """Open the place of `from` while the block lasts. Raises `PlaceTrouble`."""
    if arrival.scheme == "":
        return open_folder(arrival, roots)
    return open_site(arrival, roots) if arrival.scheme == "sftp" else open_bucket(arrival, roots)


@frozen
class WatcherParts:
    """Shared parts of all watchers of a server.

    Attributes:
        on_notice: called after a notice of a refusal was added for messages; None without messages.
        now: returns the time of a monotonic clock, in seconds.
    """

    store: SqlStore
    submissions: Submissions
    roots: Roots
    on_notice: Callable[[], None] | None = None
    now: Callable[[], float] = anyio.current_time


class Watcher:
    """The watcher of one arrival, active until `watch` is cancelled."""

    def __init__(self, arrival: Arrival, parts: WatcherParts) -> None:
        self.arrival = arrival
        self._store, self._submissions, self._roots = parts.store, parts.submissions, parts.roots
        self._now, self._on_notice = parts.now, parts.on_notice
        self._waiting = WaitingFiles()
        self._place: ArrivalPlace | None = None
        self._trouble = ""
        self._unmoved: dict[str, str] = {}
        """The first files that can't be moved: reasons by path."""
        self._one_at_a_time = anyio.Lock()
        self._retry_at: dict[str, float] = {}
        """When crashed runs are repeated. A restart begins the pause anew."""
        self._to_move: set[str | None] = {None}
        """Ended runs whose files may have to be moved; None alone stands for all, as after each listing."""
        self._wake, self._again, self._may_move, self._opened = (anyio.Event() for _ in range(4))
        self.submitted = 0
        """Runs submitted since the server started."""

    @property
    def watched(self) -> str:
        """How its place is watched; empty while it can't be."""
        return "" if self._place is None else self._place.watched

    @property
    def trouble(self) -> str:
        """Why the place can't be used, or a file can't be moved; empty if all is well."""
        return "; ".join(filter(None, (self._trouble, *self._unmoved.values(), self._waiting.trouble)))

    @property
    def waiting(self) -> Collection[WaitingFile]:
        """The waiting files, as a live view."""
        return self._waiting.files.values()

    def run_ended(self, run: StoredRun) -> None:
        if self._waiting.until_now(run.run_id, self._now()):
            self._wake.set()
        if run.arrival == self.arrival.name:
            self._moves(run.run_id)

    async def watch(self) -> None:
        while True:
            try:
                async with opened(self.arrival, self._roots) as place:
                    self._place = place
                    self._opened.set()
                    async with task_group() as tasks:
                        tasks.start_soon(place.hints, partial(self.found, place))
                        tasks.start_soon(self._ripen, place)
                        tasks.start_soon(self._move_forever, place)
                        while True:
                            self._again = anyio.Event()
                            await self.compare(place)
                            if self._trouble:
                                _log.warning("arrival %s: works again", self.arrival.name)
                            self._trouble = ""
                            with anyio.move_on_after(RETRY if self._waiting.is_full else place.every):
                                await self._again.wait()
            except PlaceTrouble as trouble:
                self._in_trouble(str(trouble))
            except StoreFailed as error:
                self._in_trouble(why(error))
            except Exception as error:  # in one arrival: it must not end the others, nor the server
                self._in_trouble(f"an unexpected error, which the log describes: {why(error)}", error)
            finally:
                self._place, self._opened = None, anyio.Event()
                self._to_move = {None}
            await anyio.sleep(RETRY)

    def _in_trouble(self, trouble: str, error: Exception | None = None) -> None:
        if elided(trouble) != self._trouble:
            self._trouble = elided(trouble)
            _log.error("arrival %s: %s; trying again", self.arrival.name, self._trouble, exc_info=error)

    # -- files found

    async def compare(self, place: ArrivalPlace) -> None:
        """Compare the files in the place with the recorded ones, and settle the files that are ready."""
        name = self.arrival.name
        refused = await self._store.arrivals.refused(name, MOST_REFUSED)
        gone = {one.path for one in refused if not aside_of(one.seen)} | self._waiting.files.keys()
        put_aside = [one for one in refused if aside_of(one.seen)][:MOST_ASIDE]
        for one, written in zip(
            put_aside, await place.exist([aside_of(one.seen) for one in put_aside]), strict=True
        ):
            if written is None:  # a person has taken it away, or a kill came while it was moved back
                await self._back(place, one)
                await self._store.arrivals.forget_refusals(name, [one.path], with_aside=True)
        async with aclosing(place.pages()) as pages:
            async for page in pages:
                gone.difference_update(entry.path for entry in page)
                await self._take(place, page)
        asked = list(gone)
        for at in range(0, len(asked), PAGE):
            part = asked[at : at + PAGE]
            # Others may have arrived during the listing.
            there = await place.look(part)
            await self._gone([path for path, entry in zip(part, there, strict=True) if entry is None])
        self._moves(None)

    async def _gone(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._waiting.drop(path)
        await self._store.arrivals.forget_refusals(self.arrival.name, paths)

    async def found(self, place: ArrivalPlace, paths: Sequence[str]) -> None:
        """Check the files that hints name; see `Found`."""
        if not paths:
            self._again.set()
        data = list(dict.fromkeys(self.arrival.marked_by(path) or path for path in paths))
        try:
            for at in range(0, len(data), PAGE):
                await self._look(place, data[at : at + PAGE])
            await self._store.settled()
        except Exception as error:  # whatever it is, the listing meets it, too
            is_expected = isinstance(error, PlaceTrouble | StoreFailed | OSError)
            unexpected = None if is_expected else error
            _log.warning("arrival %s: %s; looking again", self.arrival.name, why(error), exc_info=unexpected)
            self._again.set()

    async def _look(self, place: ArrivalPlace, paths: Sequence[str]) -> None:
        entries = await place.look(paths)
        await self._gone([path for path, entry in zip(paths, entries, strict=True) if entry is None])
        await self._take(place, [entry for entry in entries if entry is not None])

    async def _ripen(self, place: ArrivalPlace) -> None:
        while True:
            self._wake = anyio.Event()
            await self.step(place)
            with anyio.CancelScope(deadline=self._waiting.next_due()):
                await self._wake.wait()

    async def step(self, place: ArrivalPlace) -> None:
        """Check again the files that are due."""
        while due := self._waiting.pop_due(self._now(), PAGE):
            await self._look(place, due)

    # -- decisions

    async def _take(self, place: ArrivalPlace, entries: Sequence[ArrivalEntry]) -> None:
        """Settle the files that are ready, and record what the others wait for."""
        async with self._one_at_a_time:
            name = self.arrival.name
            settled = await self._store.arrivals.settled_of(
                name, [(entry.path, entry.seen) for entry in entries]
            )
            fresh = []
            for entry, is_settled in zip(entries, settled, strict=True):
                if is_settled:
                    self._waiting.drop(entry.path)
                elif entry.problem:
                    await self._refuse(entry, entry.problem)
                else:
                    fresh.append(entry)
            ready = await self._ready(place, fresh)
            if ready and await self._store.waiting() >= MOST_QUEUED:
                self._all_wait(ready, f"{MOST_QUEUED:,} runs wait for their turn")
                return
            for batch in _batches(ready):
                await self._settle(place, batch)
        self._wake.set()

    async def _ready(self, place: ArrivalPlace, entries: Sequence[ArrivalEntry]) -> list[ArrivalEntry]:
        """Return the complete files; the others wait."""
        times: Sequence[float | None] = [None] * len(entries)
        if self.arrival.marker is not None:
            times = await place.exist([self.arrival.marked(entry.path) for entry in entries])
        ready, now, clock = [], self._now(), time.time()
        for entry, marked in zip(entries, times, strict=True):
            since = self._waiting.seen(entry, now)
            reason, due = readiness(self.arrival, entry, since, now, marked, clock)
            if reason:
                self._waiting.wait(entry.path, reason, due)
            else:
                ready.append(entry)
        return ready

    async def _settle(self, place: ArrivalPlace, entries: Sequence[ArrivalEntry]) -> None:
        unread = [entry for entry in entries if self._waiting.content(entry) is None]
        read = dict(zip(unread, await place.contents(unread), strict=True))
        for entry in entries:
            content = read.get(entry) or self._waiting.content(entry)
            if content is None:
                self._all_wait([entry], "it was changed while it was read", after=self.arrival.quiet or 1.0)
            elif isinstance(content, PlaceTrouble):
                self._all_wait([entry], str(content))
            else:
                self._waiting.was_read(entry, content)
                arrived = Arrived(
                    *(self.arrival.name, entry.path, entry.seen, content), move=self.arrival.follows
                )
                outcome = await self._submissions.settle(self.arrival, arrived)
                if isinstance(outcome, Waits):
                    self._waiting.wait(entry.path, elided(outcome.why), self._now() + RETRY, outcome.run_id)
                elif isinstance(outcome, Refuses):
                    await self._refuse(entry, outcome.why)
                else:
                    self._waiting.drop(entry.path)
                    self.submitted += outcome.is_new
                    if outcome.is_new:
                        _log.info("arrival %s: %s is run %s", self.arrival.name, entry.path, outcome.run_id)
                    elif outcome.run_id is not None and self.arrival.follows:
                        self._moves(outcome.run_id)  # it may have ended before the file was recorded

    def _all_wait(self, entries: Sequence[ArrivalEntry], reason: str, after: float = RETRY) -> None:
        for entry in entries:
            self._waiting.wait(entry.path, elided(reason), self._now() + after)

    async def _refuse(self, entry: ArrivalEntry, reason: str) -> None:
        self._waiting.drop(entry.path)
        refusal = RefusedFile(self.arrival.name, entry.path, entry.seen, elided(reason), now_text())
        notice = None
        if self._on_notice is not None:
            notice = refusal_notice(self.arrival.name, self.arrival.flow, entry.path, refusal.why)
        if await self._store.arrivals.refuse(refusal, notice):
            _log.warning("arrival %s: %s is refused: %s", self.arrival.name, entry.path, refusal.why)
            if self._on_notice is not None:
                self._on_notice()
        if self.arrival.failed:
            self._moves(None)

    # -- moves, in a task of their own because one may take long, one at a time

    def _moves(self, run_id: str | None) -> None:
        if run_id is None:
            self._to_move.clear()
        if None not in self._to_move:
            self._to_move.add(run_id)
        self._may_move.set()

    async def _move_forever(self, place: ArrivalPlace) -> None:
        while True:
            self._may_move = anyio.Event()
            await self.move(place)
            with anyio.CancelScope(deadline=min(self._retry_at.values(), default=math.inf)) as scope:
                await self._may_move.wait()
            if scope.cancelled_caught:
                self._moves(None)

    async def move(self, place: ArrivalPlace) -> None:
        """Move the files whose run has ended, or repeat it; then the refused files."""
        while self._to_move:
            run_id = self._to_move.pop()
            moves: list[Move | RefusedFile] = [*await self._store.arrivals.moves(self.arrival.name, run_id)]
            if run_id is None:
                ids = {move.run_id for move in moves if isinstance(move, Move)}
                self._retry_at = {run_id: at for run_id, at in self._retry_at.items() if run_id in ids}
                if self.arrival.failed:
                    moves += await self._store.arrivals.refused(self.arrival.name, MOST_REFUSED)
                left = {move.path for move in moves}  # another server may have moved the others
                self._unmoved = {path: reason for path, reason in self._unmoved.items() if path in left}
            await self._move_each(place, moves)

    async def _move_each(self, place: ArrivalPlace, moves: Sequence[Move | RefusedFile]) -> None:
        for move in moves:
            if isinstance(move, Move) and await self._retries(move):
                continue
            aside, is_gone, is_due = "", False, isinstance(move, Move) and move.is_due
            folder = self.arrival.move if is_due else self.arrival.failed
            try:
                if folder is not None and not aside_of(move.seen):
                    to = self.arrival.beside(move.path, folder)
                    aside = await place.move(ArrivalEntry(move.path, move.seen, 0, 0.0), to) or ""
                    is_gone = bool(aside) or await place.look([move.path]) == [None]
                    if is_gone and not aside:  # a kill may have come between the move and its record
                        aside = await _last_of(place, to)
            except PlaceTrouble as trouble:
                reason = elided(str(trouble))
                is_told = move.path in self._unmoved or len(self._unmoved) < MOST_NAMED
                if is_told and self._unmoved.get(move.path) != reason:
                    self._unmoved[move.path] = reason
                    _log.error("arrival %s: %s; trying again", self.arrival.name, reason)
                if trouble.may_pass:
                    return
                continue
            self._unmoved.pop(move.path, None)
            if isinstance(move, Move):
                await self._store.arrivals.moved(move, is_gone=is_gone, aside=aside)
            elif aside:
                await self._store.arrivals.refuse(move._replace(seen=f"{ASIDE}{aside}"))

    async def _retries(self, move: Move) -> bool:
        """Return whether a crashed run is repeated, now or later: by a new run, which takes the file over."""
        if move.status != "CRASHED" or move.retries >= self.arrival.retry:
            return False
        pause = min(RETRY * 3**move.retries, LONGEST_PAUSE)
        if self._now() < self._retry_at.setdefault(move.run_id, self._now() + pause):
            return True
        self._retry_at[move.run_id] = self._now() + RETRY  # for an outcome that must wait
        outcome = await self._submissions.settle(self.arrival, self._arrived(move), move, move.retries + 1)
        return isinstance(outcome, Waits) or (isinstance(outcome, Settles) and outcome.is_new)

    def _arrived(self, move: Move) -> Arrived:
        return Arrived(self.arrival.name, move.path, move.seen, b"")

    # -- failed files that a person takes again

    async def retry(self, paths: Collection[str], after: str = "") -> tuple[list[TakenAgain], str | None]:
        """Take failed and refused files again, all or those of these paths; return where to go on."""
        if self._place is None and not self._trouble:  # the version of its flow has just been changed
            with anyio.move_on_after(RETRY):
                await self._opened.wait()
        name, flow, stays = self.arrival.name, self.arrival.flow, self._trouble or "its place is not open yet"
        failed = await self._store.arrivals.failed(name, flow, paths, after, MOST_TAKEN)
        refused = [] if after else await self._store.arrivals.refused(name, MOST_TAKEN, paths)
        taken, every = list[TakenAgain](), list[Move | RefusedFile]([*refused, *failed])
        for one in every:
            path = one.source_path if isinstance(one, Move) else one.path
            try:
                found = Waits(stays) if self._place is None else await self._take_again(self._place, one)
            except PlaceTrouble as trouble:
                found = Waits(str(trouble))
            taken.append(
                (path, found.run_id, None) if isinstance(found, Settles) else (path, None, found.why)
            )
        return taken, failed[-1].source_key if len(failed) == MOST_TAKEN else None

    async def _take_again(self, place: ArrivalPlace, one: Move | RefusedFile) -> Outcome:
        if lies := aside_of(one.seen):
            if await place.exist([one.path]) != [None]:
                return Waits(f"another file is at its path by now: move it away to take {lies}")
            if await self._back(place, one) is None and isinstance(one, Move):
                return Waits(f"there is no file {lies}: put it there, or at its path")
        elif isinstance(one, Move):
            return await self._submissions.settle(self.arrival, self._arrived(one), one)
        if isinstance(one, RefusedFile):
            await self._store.arrivals.forget_refusals(self.arrival.name, [one.path], with_aside=True)
        await self.found(place, [one.path])
        return Waits("it is taken again once it is ready")

    async def _back(self, place: ArrivalPlace, one: Move | RefusedFile) -> str | None:
        """Move a file out of the folder for failed files to its path, or finish that."""
        async with self._one_at_a_time:
            return await place.move(ArrivalEntry(aside_of(one.seen), "", 0, 0.0), one.path)


async def _last_of(place: ArrivalPlace, to: str) -> str:
    """Return the last path that moves to this one have given; empty if there is none."""
    number = 1
    while await place.exist([numbered(to, number)]) != [None]:
        number += 1
    return numbered(to, number - 1) if number > 1 else ""


def _batches(entries: Sequence[ArrivalEntry]) -> Iterable[list[ArrivalEntry]]:
    """Group files for one call each, so that the first of many are submitted early."""
    batch: list[ArrivalEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.bytes
        if size >= _BATCH or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
