"""`Monitor`: watches any number of runs with a bounded number of looks, or with the server's change feed."""

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import define

from lume_async._base.backoff import LAST_POLL, PollInterval, polling
from lume_async._base.batched import Batched
from lume_async._base.public import public
from lume_async._http.sender import Sender
from lume_async._many.change_feed import ChangeFeed
from lume_async._many.scheduler import Scheduler
from lume_async._run.handle import LumeRun
from lume_async._run.poll import patience, poll_once
from lume_async._wire.endpoints import Change
from lume_async.errors import ApiError, ClientClosedError
from lume_async.models import RunEvent, RunRecord, RunStatus, check_run_id

QUEUED = 1024
"""How many events may wait for their reader; beyond that the looks wait for it."""

FIRST_LOOKS = 1000.0
"""At most so many runs a second are looked at for the first time, so that a big batch begins spread out."""

SAFETY_NET = 300.0
"""Seconds between looks at a run while the change feed is trusted to tell its end."""


FEED_FROM = 2
"""From so many runs on the change feed costs fewer requests than looking at each."""

OPENING = 1.0
"""Seconds that first looks wait for the change feed to open, at the most."""

SOONEST = 0.2
"""The shortest delay, in seconds, that a run's reported progress leads to."""


@define(eq=False)
class _Watched:
    """A run in a monitor: its handle, how often it was looked at, the status that its reader knows."""

    run: LumeRun
    looks: int = 0
    retries: int = 0  # looks in a row that failed, or didn't show the end that the feed told
    ended: bool = False  # the feed told its end
    not_before: float = -math.inf  # until when the server wants to be left alone
    looked: float = -math.inf  # when the last look ended; infinite during one
    shown: RunStatus | None = None
    progress: tuple[float, float] | None = None  # the first that was reported, and when


@public
class Monitor(Batched[RunEvent[LumeRun]]):
    """Watches any number of runs: each change of a status is a `RunEvent`, errors concern one run only.

    Use it as a context manager; leaving the block stops every look. Iterating yields events until then: a
    monitor that has nothing to watch waits for the next `add`. Runs leave it when they have ended. `add`,
    `discard` and `notify` may be called from any thread.

    A run that sleeps between two looks costs no task and no connection. Where the server has a change feed,
    one request follows all runs and only those that ended are fetched.
    """

    def __init__(
        self, sender: Sender, *, max_in_flight: int = 64, poll_interval: PollInterval = None
    ) -> None:
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ValueError(f"max_in_flight must be a whole number of at least 1, not {max_in_flight!r}")
        self._sender = sender
        self._backoff = polling(poll_interval)
        self._follows_progress = poll_interval is None
        self._watched: dict[str, _Watched] = {}
        self._events: asyncio.Queue[RunEvent[LumeRun] | None] = asyncio.Queue(QUEUED)
        self._scheduler = Scheduler(self._look, limit=max_in_flight, clock=sender.clock, failed=self._fail)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: asyncio.Task[None] | None = None
        self._fed: bool | None = None  # whether the feed tells every change; None before it was asked
        self._deadline = math.inf  # when the last round began
        self._failure: BaseException | None = None
        self._closed = False

    @property
    def pending(self) -> int:
        """How many runs are being watched."""
        return len(self._watched)

    def add(self, run: LumeRun | str) -> LumeRun:
        """Start watching a run; adding it twice has no effect. Returns the run's handle.

        Raises:
            InvalidRequestError: the run ID is malformed.
            RuntimeError: the monitor was not entered, or has been left.
            ClientClosedError: the client was closed.
        """
        handle = LumeRun(self._sender, check_run_id(run)) if isinstance(run, str) else run
        self._on_loop(self._add, handle)
        return handle

    def discard(self, run: LumeRun | str) -> None:
        """Watch a run no longer; it goes on. A run that is not watched is no error."""
        self._on_loop(self._discard, run if isinstance(run, str) else run.id)

    def notify(self, run_id: str) -> None:
        """Poll a run immediately, for example from a webhook handler. An ID that is not watched is ignored."""
        self._on_loop(self._scheduler.wake, run_id)

    async def __aenter__(self) -> Self:
        """Begin to watch.

        Raises:
            ClientClosedError: the client is closed.
        """
        if self._loop is not None:
            raise RuntimeError("a monitor is entered once: make a new one")
        self._sender.clock.tell(self._client_closed)
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every look."""
        self._sender.clock.forget(self._client_closed)
        self._end_iteration(None)
        self._watched.clear()
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)
        await self._scheduler.aclose()

    def __aiter__(self) -> Self:
        """The events, as they come."""
        return self

    async def __anext__(self) -> RunEvent[LumeRun]:
        """The next event.

        Raises:
            ClientClosedError: the client was closed.
        """
        event = await self._events.get()
        if event is not None:
            return event
        self._events.put_nowait(None)  # the end, for who comes next
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    def _take_ready(self, limit: int) -> list[RunEvent[LumeRun]]:
        events: list[RunEvent[LumeRun]] = []
        while len(events) < limit and not self._events.empty():
            event = self._events.get_nowait()
            if event is None:  # the end, for who comes next
                self._events.put_nowait(None)
                break
            events.append(event)
        return events

    async def _last_round(self) -> None:
        """One more look at every run that the server does not want to be left alone for longer, and then none."""
        self._deadline = self._sender.clock.now()
        await self._scheduler.last_round(LAST_POLL)

    def _on_loop(self, function: Callable[..., object], *arguments: object) -> None:
        """Here, if this is the monitor's loop; else there, soon."""
        if self._failure is not None:
            raise self._failure
        if self._loop is None or self._closed:
            raise RuntimeError("the monitor is not active: use it inside its `with` block")
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)

    def _add(self, run: LumeRun) -> None:
        if run.id in self._watched or self._closed:
            return
        self._watched[run.id] = _Watched(run)
        self._start_feed()
        opening = self._feed is not None and self._fed is None
        # A look before the feed is open would have to be repeated after it.
        delay = OPENING if opening else self._spread() if len(self._watched) > 1 else 0.0
        quiet = self._sender.recent_runs.quiet_for(run.id)
        self._scheduler.add(run.id, max(delay, quiet))

    def _discard(self, run_id: str) -> None:
        self._watched.pop(run_id, None)
        self._scheduler.discard(run_id)

    def _spread(self) -> float:
        """A random delay: the more runs, the longer the time in which they are looked at."""
        return self._sender.rng.random() * min(self._backoff.maximum, len(self._watched) / FIRST_LOOKS)

    async def _look(self, run_id: str) -> float | None:
        """One look at one run; returns the delay until the next, None where there is none."""
        watched = self._watched.get(run_id)
        if watched is None:
            return None
        run, clock = watched.run, self._sender.clock
        if not run.is_terminal:
            if watched.not_before > self._deadline:
                return None
            watched.looked = math.inf
            seen = await self._see(watched)
            if self._watched.get(run_id) is not watched:
                return None  # discarded meanwhile; the scheduler knows if it was added anew
            if isinstance(seen, ApiError):
                await self._tell_last(watched, RunEvent(run, watched.shown, seen))
                return None
            watched.not_before = clock.now() + seen
        self._start_feed()
        await self._show(watched)
        watched.looked = clock.now()
        return None if run.is_terminal else max(watched.not_before - watched.looked, self._pause(watched))

    async def _see(self, watched: _Watched) -> float | ApiError:
        """How long the server wants to be left alone, or the error that waiting does not change."""
        run, sender = watched.run, self._sender
        watched.looks += 1
        try:
            polled = await poll_once(sender, run.id, run._record, retry=False)
        except ApiError as error:
            watched.retries += 1
            floor = patience(sender, error, run.id)
            return error if floor is None else floor
        watched.retries = watched.retries + 1 if watched.ended else 0
        if polled.record is not None:
            run._adopt(polled.record)
        return polled.not_before

    async def _show(self, watched: _Watched) -> None:
        run, record, previous = watched.run, watched.run._record, watched.shown
        if run.is_terminal:
            watched.shown = run.status
            await self._tell_last(watched, RunEvent(run, previous))
        elif record is not None and record.status != previous:
            watched.shown = record.status
            await self._events.put(RunEvent(run._snapshot(record), previous))

    async def _tell_last(self, watched: _Watched, event: RunEvent[LumeRun]) -> None:
        """The run is watched until its last event is in the queue: whoever adds it meanwhile gets that event."""
        await self._events.put(event)
        if self._watched.get(watched.run.id) is watched:
            del self._watched[watched.run.id]

    def _pause(self, watched: _Watched) -> float:
        """Seconds until the next look: half of what the run's progress says is left, if it says anything."""
        if self._fed and not watched.retries:
            return SAFETY_NET
        if self._fed:
            return min(SAFETY_NET, self._backoff.delay(watched.retries - 1, self._sender.rng))
        progress = watched.run.progress if self._follows_progress else None
        if progress is not None:
            now = self._sender.clock.now()
            if watched.progress is None:
                watched.progress = (progress, now)
            done, since = progress - watched.progress[0], now - watched.progress[1]
            if done > 0 and since > 0:
                return min(max(SOONEST, since * (1 - progress) / done / 2), self._backoff.maximum)
        return self._backoff.delay(watched.looks - 1, self._sender.rng)

    def _start_feed(self) -> None:
        if self._feed is None and len(self._watched) >= FEED_FROM and self._sender.can("changes"):
            feed = ChangeFeed(self._sender, changed=self._changed, switched=self._switched)
            self._feed = asyncio.ensure_future(feed.follow())
            self._feed.add_done_callback(self._feed_ended)

    def _changed(self, change: Change, asked: float) -> None:
        """The feed tells a change: an ended run is fetched, any other status is shown as it is.

        It can't be where a look ended after the feed was `asked`: which of the two is newer, another look tells.
        """
        watched = self._watched.get(change.id)
        if watched is None or (change.status == watched.shown and not change.finished_at):
            return
        run, record = watched.run, watched.run._record
        status = RunStatus(change.status) if change.status else None
        watched.ended |= bool(change.finished_at) or (status is not None and status.is_terminal)
        late = watched.looked > asked or self._events.full()
        if status is None or record is None or watched.ended or late:
            self._scheduler.wake(change.id)
        elif not run.is_terminal:
            newer = RunRecord(record.id, status, {**record.raw, "status": change.status})
            run._adopt(newer)
            previous, watched.shown = watched.shown, status
            self._events.put_nowait(RunEvent(run._snapshot(newer), previous))

    def _switched(self, on: bool) -> None:
        """What happened around a switch was told by nobody: look at every run once, spread out."""
        if self._fed != on:
            self._fed = on
            self._scheduler.delay_all(self._spread)

    def _feed_ended(self, feed: asyncio.Task[None]) -> None:
        if not feed.cancelled() and (error := feed.exception()) is not None:
            self._fail(error)

    def _client_closed(self) -> None:
        self._fail(ClientClosedError("the client was closed"))

    def _fail(self, error: BaseException) -> None:
        self._end_iteration(error)

    def _end_iteration(self, failure: BaseException | None) -> None:
        """Wake the reader for the last time; events that it has not read yet are dropped."""
        if self._closed:
            return
        self._closed, self._failure = True, failure
        while not self._events.empty():
            self._events.get_nowait()
        self._events.put_nowait(None)
