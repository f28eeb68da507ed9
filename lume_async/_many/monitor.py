"""`Monitor`: watches any number of runs with a bounded number of polls, or with the server's change feed."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from itertools import islice
from typing import Self

from anyio import ClosedResourceError, EndOfStream, WouldBlock, create_memory_object_stream
from anyio.abc import TaskGroup
from attrs import define

from lume_async._base import arguments
from lume_async._base.backoff import Backoff, PollInterval, Rng, after_failure, polling
from lume_async._base.batched import Batched
from lume_async._base.owned import Owned
from lume_async._base.public import public
from lume_async._base.tasks import background, loop_here
from lume_async._http.sender import Sender
from lume_async._many.change_feed import RUNS_PER_SAMPLE, SAMPLING, ChangeFeed, FeedCheck
from lume_async._many.scheduler import Scheduler
from lume_async._run.handle import LumeRun, snapshot, update
from lume_async._run.poll import patience, poll_once
from lume_async._run.state import record_of
from lume_async._wire.endpoints import Change
from lume_async.errors import ApiError, ClientClosedError
from lume_async.models import RunEvent, RunRecord, RunStatus, check_run_id

SAFETY_NET = 300.0
"""Seconds between polls of a run while the change feed is trusted to report its end."""

SOONEST = 0.2
"""The shortest delay, in seconds, that a run's reported progress leads to."""

EVER = -math.inf
"""A time before all others; one shared object, as each float takes 24 bytes."""

UNWATCHED = 10_000
"""The maximum number of remembered changes of unwatched runs."""

QUEUED = 1024
"""The maximum number of unread events; polling pauses at this number."""
FIRST_POLLS = 1000.0
"""The maximum number of first polls per second, so that a large batch does not start in a burst."""
FEED_FROM = 2
"""The number of runs from which the change feed takes fewer requests than polling each run."""
OPENING = 1.0
"""Seconds that first polls wait for the change feed to open, at most."""
INACTIVE = "the monitor is not active: use it inside its `with` block"


class Unwatched:
    """The last changes of unwatched runs, as one of them may be added a moment later."""

    def __init__(self) -> None:
        # The status (None for an end), and its time.
        self._statuses = OrderedDict[str, tuple[str | None, float]]()
        self._forgotten = EVER  # the time of the newest dropped change

    def note(self, change: Change, now: float) -> None:
        """Note a change that the feed has reported; nothing replaces an end."""
        status = None if change.is_end or self.has_ended(change.id) else change.status
        self._statuses[change.id] = status, now
        self._statuses.move_to_end(change.id)
        if len(self._statuses) > UNWATCHED:
            _, (_, self._forgotten) = self._statuses.popitem(last=False)

    def has_ended(self, run_id: str) -> bool:
        """Return whether the feed has reported the end of the run."""
        status, _ = self._statuses.get(run_id, ("", EVER))
        return status is None

    def is_as_reported(self, run: LumeRun, born_after: float) -> bool:
        """Return whether the feed has certainly reported no status other than the handle's."""
        status, _ = self._statuses.get(run.id, (run.status, EVER))
        return run.status is not None and status == run.status and born_after > self._forgotten


@define(eq=False, weakref_slot=False)
class Watched:
    """A run, the number of its successful polls, and the status of its last event."""

    run: LumeRun
    polls: int = 0
    failures: int = 0  # failed polls in a row
    last_error: ApiError | None = None  # with its frames removed
    stale: int = 0  # polls in a row that do not show the reported end
    ended: bool = False  # reported by the feed
    not_before: float = EVER  # the server asked us not to poll earlier
    polled: float = EVER  # the end of the last poll; infinite during a poll
    born_after: float = EVER  # see `RecentRuns.born_after`
    is_new: bool = False  # not polled yet, and the feed has reported no other status
    shown: RunStatus | None = None
    reported: float | None = None  # the progress at the last poll
    progress: tuple[float, float] | None = None  # the first reported one, with its time

    def next_delay(
        self, backoff: Backoff, rng: Rng, now: float, *, fed: bool, follows_progress: bool
    ) -> float:
        """Return the seconds until the next poll, without the server's own delay; `fed`: the feed reports the end."""
        if fed:
            soon = backoff.delay(max(0, self.stale - 1), rng)
            usual = min(SAFETY_NET, soon) if self.ended else SAFETY_NET
        elif follows_progress and (rest := self._half_of_the_rest(now)) is not None:
            usual = min(max(SOONEST, rest), backoff.maximum)
        else:
            usual = backoff.delay(max(0, self.polls - 1), rng)
        return after_failure(usual, self.failures, rng) if self.failures else usual

    def _half_of_the_rest(self, now: float) -> float | None:
        """Return half of the estimated remaining seconds; None if the run reports no progress."""
        progress = self.reported
        if progress is None:
            return None
        if self.progress is None:
            self.progress = (progress, now)
        done, since = progress - self.progress[0], now - self.progress[1]
        return since * (1 - progress) / done / 2 if done > 0 and since > 0 else None


def handle_of(sender: Sender, run: LumeRun | str) -> LumeRun:
    """Return the handle, or a new one for an ID. Raises `TypeError`, or `InvalidRequestError` for a malformed ID."""
    if isinstance(run, str):
        return LumeRun(sender, check_run_id(run))
    return arguments.instance(run, "a run", LumeRun, "one of this client, or a run ID")


@public
class Monitor(Batched[RunEvent[LumeRun]]):
    """Watches any number of runs; yields a `RunEvent` for each change of a status and for errors of single runs.

    Use it as a context manager; leaving the block stops polling and ends the iteration. A monitor without runs waits
    for the next `add`. Runs that have ended are removed. `add`, `discard` and `notify` may be called from any thread.

    Between two polls, a run needs no task and no connection. If the server has a change feed, one request follows
    all runs; ended runs come with it, or are fetched.

    Examples:
        >>> async with client.monitor() as monitor:
        ...     for run in runs:
        ...         monitor.add(run)
        ...     while monitor.pending:
        ...         event = await anext(monitor)
        ...         print(event.run.id, event.error or event.run.status)
    """

    def __init__(
        self, sender: Sender, *, max_in_flight: int = 64, poll_interval: PollInterval = None
    ) -> None:
        self._sender = sender
        self._backoff = polling(poll_interval)
        self._follows_progress = poll_interval is None
        self._watched: dict[str, Watched] = {}
        self._scheduler = Scheduler(
            self._poll, limit=arguments.whole(max_in_flight, "max_in_flight"), clock=sender.clock
        )
        self._background = Owned(background(), "lume monitor")
        self._tasks: TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed_wanted = asyncio.Event()
        self._fed: bool | None = None  # whether the feed is complete; None until it has answered
        self._fed_since = math.inf
        self._feed_check = FeedCheck()
        self._unwatched = Unwatched()
        self._deadline = math.inf  # the start of the last round
        self._end_of_polls: float | None = None  # when the last poll must have ended
        self._last_error: ApiError | None = None  # of any run, without its frames
        self._failure: BaseException | None = None
        self._closed = False
        self._unread = 0  # last events in the queue

    @property
    def pending(self) -> int:
        """The number of runs that are being watched, and of those whose last event has not been read."""
        return len(self._watched) + self._unread

    def add(self, run: LumeRun | str) -> LumeRun:
        """Start watching a run; adding it twice has no effect. Returns the run's handle.

        Raises:
            InvalidRequestError: the run ID is malformed.
            TypeError: it is neither a run nor an ID.
            RuntimeError: the monitor was not entered, or was left.
            ClientClosedError: the client was closed.

        Examples:
            >>> async with client.monitor() as monitor:
            ...     handle = monitor.add(run.id)
        """
        handle = handle_of(self._sender, run)
        self._on_loop(self._add, handle)
        return handle

    def discard(self, run: LumeRun | str) -> None:
        """Stop watching a run; the run keeps running. A run that is not watched is ignored.

        Examples:
            >>> async with client.monitor() as monitor:
            ...     monitor.add(run)
            ...     monitor.discard(run)
        """
        arguments.instance(run, "run", (LumeRun, str), "a run or a run ID")
        self._on_loop(self._discard, run if isinstance(run, str) else run.id)

    def notify(self, run_id: str) -> None:
        """Poll a run immediately, for example from a webhook handler. An ID that is not watched is ignored.

        Examples:
            >>> async with client.monitor(poll_interval=3600) as monitor:
            ...     monitor.add(run)
            ...     monitor.notify(run.id)
        """
        self._on_loop(self._wake, arguments.instance(run_id, "run_id", str, "a string"))

    async def __aenter__(self) -> Self:
        """Start watching.

        Raises:
            ClientClosedError: the client is closed.
        """
        if self._loop is not None:
            raise RuntimeError("a monitor can be entered only once: create a new one")
        self._sender.clock.listen(self._client_closed)
        self._loop = asyncio.get_running_loop()
        self._send, self._events = create_memory_object_stream[RunEvent[LumeRun]](QUEUED)
        try:
            self._tasks = await self._background.open()
        except BaseException:
            await self.__aexit__()
            raise
        self._tasks.start_soon(self._follow, self._scheduler.run)
        self._tasks.start_soon(self._follow, self._follow_feed)
        self._tasks.start_soon(self._follow, self._sample)
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop polling."""
        self._sender.clock.forget(self._client_closed)
        self._watched.clear()
        self._end(None)
        with self._events:
            await self._background.close()
        self._unread = 0

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> RunEvent[LumeRun]:
        """Return the next event.

        Raises:
            RuntimeError: the monitor was not entered.
            ClientClosedError: the client was closed.
        """
        if self._loop is None:
            raise RuntimeError(INACTIVE)
        try:
            if not self._closed:
                try:
                    event = self._events.receive_nowait()
                except WouldBlock:
                    event = await self._events.receive()
                self._note_read(event)
                return event
        except (EndOfStream, ClosedResourceError):
            pass
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    def _take_ready(self, limit: int) -> list[RunEvent[LumeRun]]:
        events: list[RunEvent[LumeRun]] = []
        with suppress(WouldBlock, EndOfStream, ClosedResourceError):
            # The last end stays in the queue: otherwise a loop `while monitor.pending` would stop before reading it.
            while len(events) < limit and not self._closed and self.pending > 1:
                events.append(self._events.receive_nowait())
                self._note_read(events[-1])
        return events

    def _note_read(self, event: RunEvent[LumeRun]) -> None:
        if event.error is not None or event.run.is_terminal:
            self._unread -= 1

    def _on_loop(self, function: Callable[..., object], *arguments: object) -> None:
        """Call the function on the monitor's loop: at once if it runs in this thread, otherwise soon."""
        if self._failure is not None:
            raise self._failure
        if self._loop is None or self._closed:
            raise RuntimeError(INACTIVE)
        if loop_here() is self._loop:
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)

    def _add(self, run: LumeRun) -> None:
        if run.id in self._watched or self._closed:
            return
        watched = self._watched[run.id] = Watched(run)
        watched.born_after = self._sender.recent_runs.born_after(run.id)
        watched.is_new = self._unwatched.is_as_reported(run, watched.born_after)
        watched.ended = self._unwatched.has_ended(run.id)
        self._start_feed()
        opening = self._feed_wanted.is_set() and self._fed is None
        # A poll before the feed opens would have to be repeated.
        delay = OPENING if opening else self._spread() if len(self._watched) > 1 else 0.0
        quiet = self._sender.recent_runs.quiet_for(run.id)
        if quiet > 0:
            watched.not_before = self._sender.clock.now() + quiet  # also for the last polls
        self._scheduler.add(run.id, max(delay, quiet))

    def _discard(self, run_id: str) -> None:
        self._watched.pop(run_id, None)
        self._scheduler.discard(run_id)

    def _wake(self, run_id: str) -> None:
        """Poll the run now."""
        if (watched := self._watched.get(run_id)) is not None:
            watched.is_new = False
            self._scheduler.wake(run_id)

    def _spread(self) -> float:
        """Return a random delay in seconds; its maximum grows with the number of runs."""
        return self._sender.rng.random() * min(self._backoff.maximum, len(self._watched) / FIRST_POLLS)

    async def _poll(self, run_id: str) -> float | None:
        """Poll one run; return the delay in seconds until the next poll, None for no next poll."""
        watched = self._watched.get(run_id)
        if watched is None:
            return None
        run, clock = watched.run, self._sender.clock
        before, watched.polled = watched.polled, math.inf
        # The feed knows all about a run that began after its opening, so no first poll is needed.
        is_fed = watched.is_new and watched.born_after > self._fed_since and self._deadline == math.inf
        is_current, watched.is_new = run.is_terminal or is_fed, False
        if not is_current:
            if watched.not_before > self._deadline or self._left() == 0.0:
                return None
            pause = await self._request(watched)
            if self._watched.get(run_id) is not watched:
                return None  # discarded during the poll
            if isinstance(pause, ApiError) and not run.is_terminal:
                await self._emit_last(watched, RunEvent(run, watched.shown, pause))
                return None
            if not isinstance(pause, ApiError):
                watched.not_before = clock.now() + pause if pause else EVER
            if run.is_terminal and not watched.ended and max(before, watched.born_after) > self._fed_since:
                self._feed_check.note_polled_end(run_id, clock.now())
        self._start_feed()
        await self._show(watched)
        now = clock.now()
        watched.polled = before if is_current else now
        if run.is_terminal:
            return None
        delay = watched.next_delay(
            self._backoff,
            self._sender.rng,
            now,
            fed=self._fed is True,
            follows_progress=self._follows_progress,
        )
        return max(watched.not_before - now, delay)

    async def _request(self, watched: Watched) -> float | ApiError:
        """Poll once; return the seconds the server asked us to wait, or a permanent error."""
        run, sender = watched.run, self._sender
        asked = sender.clock.now()
        try:
            polled = await poll_once(sender, run.id, record_of(run), timeout=self._left(), retry=False)
        except ApiError as error:
            watched.failures, watched.last_error = watched.failures + 1, copy(error).with_traceback(None)
            self._last_error = watched.last_error
            floor = patience(sender, error, run.id, asked)
            return error if floor is None else floor
        watched.polls += 1
        watched.failures, watched.stale = 0, watched.stale + 1 if watched.ended else 0
        if polled.record is not None:
            update(run, polled.record)
            watched.reported = run.progress
            if not run.is_terminal:  # the rest of an ended run is read soon
                polled.record.pack()
        return polled.not_before

    def _left(self) -> float | None:
        """Return the seconds that a poll may take; None for no limit."""
        return None if self._end_of_polls is None else max(0.0, self._end_of_polls - self._sender.clock.now())

    async def _show(self, watched: Watched) -> None:
        run, record, previous = watched.run, record_of(watched.run), watched.shown
        if run.is_terminal:
            watched.shown = run.status
            await self._emit_last(watched, RunEvent(run, previous))
        elif record is not None and record.status != previous:
            watched.shown = record.status
            await self._emit(RunEvent(snapshot(run, record), previous))

    async def _emit(self, event: RunEvent[LumeRun]) -> None:
        with suppress(ClosedResourceError):  # the events have ended
            try:
                self._send.send_nowait(event)
            except WouldBlock:
                await self._send.send(event)

    async def _emit_last(self, watched: Watched, event: RunEvent[LumeRun]) -> None:
        """Queue the last event of a run, then stop watching it; an `add` before that has no effect."""
        await self._emit(event)
        self._unread += 1  # less one already, if it was read meanwhile
        if self._watched.get(watched.run.id) is watched:
            del self._watched[watched.run.id]

    def _start_feed(self) -> None:
        # `add` from another thread runs in a callback, where anyio can't start a task: so only set an event.
        if len(self._watched) >= FEED_FROM and self._sender.can("changes"):
            self._feed_wanted.set()

    async def _follow_feed(self) -> None:
        await self._feed_wanted.wait()
        await ChangeFeed(self._sender, on_change=self._on_change, on_switch=self._on_switch).follow()

    def _on_change(self, change: Change, asked: float) -> None:
        """Handle a change from the feed: show its status; fetch a run that has ended, unless the change carries it.

        If a poll ended after the feed was `asked`, either may be newer: poll the run once more. Later reports of
        the feed about an ended run are older than the end.
        """
        watched = self._watched.get(change.id)
        if change.is_end:
            self._feed_check.note_report(change.id)
        if watched is None:
            self._unwatched.note(change, self._sender.clock.now())
            return
        if not change.is_end and (watched.ended or change.status == watched.shown):
            return
        run, record = watched.run, record_of(watched.run)
        status = RunStatus(change.status) if change.status else None
        watched.ended |= change.is_end
        if watched.ended and (end := change.end) is not None:
            update(run, end)  # the poll that follows shows it without a request
        if status is None or record is None or watched.ended or watched.polled > asked:
            self._wake(change.id)
        elif not run.is_terminal:
            newer = RunRecord(record.id, status, {**record.raw, "status": change.status})
            try:
                self._send.send_nowait(RunEvent(snapshot(run, newer), watched.shown))
            except WouldBlock:
                self._wake(change.id)  # a poll can wait for the reader
            except ClosedResourceError:  # the deadline has passed, and the last polls are over
                return
            else:
                update(run, newer)
                newer.pack()
                watched.shown = status

    def _on_switch(self, on: bool, missed: bool) -> None:
        """Switch the feed on or off; if it may have missed changes, poll every run once, spread out."""
        now = self._sender.clock.now()
        on = on and self._feed_check.is_trusted(now)
        if self._fed != on:
            self._fed, self._fed_since = on, now if on else math.inf
            self._feed_check.reset()
            if missed or not on:
                self._scheduler.delay_all(self._spread)

    async def _sample(self) -> None:
        """Poll a few runs in spite of the feed, the least recently polled ones first."""
        await self._feed_wanted.wait()
        clock, check = self._sender.clock, self._feed_check
        while True:
            await clock.sleep(SAMPLING)
            if self._fed and not check.is_trusted(clock.now()):
                self._on_switch(False, True)
            if self._fed:
                for run_id in list(islice(self._watched, math.ceil(len(self._watched) / RUNS_PER_SAMPLE))):
                    watched = self._watched[run_id] = self._watched.pop(run_id)
                    if watched.not_before <= clock.now():
                        self._scheduler.wake(run_id)

    async def _follow(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a background task; report its failure to the reader. A closed client is not an error at exit."""
        try:
            await work()
        except ClientClosedError as closed:
            self._end(closed)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._end(error)
            raise

    def _client_closed(self) -> None:
        self._end(ClientClosedError("the client was closed"))

    def _end(self, failure: BaseException | None) -> None:
        """End the events; unread ones are dropped."""
        if not self._closed:
            self._closed, self._failure = True, failure
            self._send.close()
