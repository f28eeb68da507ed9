"""Long polls for a run or the change feed. A change wakes the waiters of its run and all watchers of the feed.

Every change concerns all watchers, and there may be thousands. A response takes the event loop about as long as a
request for a run. So as soon as more than `BURST` are due, they take turns, first come, first served, at `RATE` a
second. Changes in the meantime share one response, and requests about runs are answered in between as if nobody
watched. A few watchers never wait for a turn.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lume_async.models import RunStatus
from lume_local._runs.store.records import StoredRun

MOST_WAITERS = 10_000
TOGETHER = 0.1
"""Seconds for which a response waits for more: the changes of a small run follow each other within milliseconds."""


class ChangeWaiter:
    """Notices changes while its `with` block lasts.

    Read the state inside the block, so that a change during the read is noticed.
    """

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._changed = asyncio.Event()
        self.run: StoredRun | None = None
        """The run after the last change, if it came with that."""

    async def until(self, deadline: float) -> bool:
        """Wait for a change since the last call; False at the deadline (loop time), or once the hub is closed."""
        if not self._changed.is_set():
            if self._hub.is_closed:
                return False
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return False
        self._changed.clear()
        return True

    def notice(self, run: StoredRun | None = None) -> None:
        self.run = run
        self._changed.set()


class Hub:
    """Wakes waiters. Used from one event loop."""

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[ChangeWaiter]] = defaultdict(set)
        self._count = 0
        self.watchers = Watchers()
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether one more waiter is allowed; if not, respond immediately."""
        return not self.is_closed and self._count + self.watchers.count < MOST_WAITERS

    @contextmanager
    def waiter(self, key: str) -> Iterator[ChangeWaiter]:
        waiter, waiters = ChangeWaiter(self), self._waiters[key]
        self._count += 1
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._count -= 1
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[key]

    def notify(self, run_id: str = "", run: StoredRun | None = None) -> None:
        """Report that a run has changed, and its new state if known; without an id, that a run was created."""
        for waiter in self._waiters.get(run_id, ()):
            waiter.notice(run)
        self.watchers.notify(may_wait=run is not None and not RunStatus(run.status).is_terminal)

    def close(self) -> None:
        """Wake all waiters, and let none wait from now on."""
        self.is_closed = True
        self.watchers.close()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.notice()


BURST = 100
"""Responses that may be due at once."""
RATE = 1000.0
"""Further responses per second."""
_SLICE = 0.02
"""Seconds between two groups of turns."""


class FeedWatcher:
    """One long poll, while its `with` block lasts."""

    def __init__(self, crowd: "Watchers") -> None:
        self._crowd = crowd
        self._turn = asyncio.Event()
        self.seen = crowd.version
        """The version of the feed that it has read."""

    def reads(self) -> None:
        """Record that it reads the feed now: later changes are news."""
        self.seen = self._crowd.version

    def may_respond(self) -> bool:
        """Return whether it may respond with news without waiting for its turn; if so, it should."""
        return self._crowd.takes()

    async def turn(self, deadline: float) -> bool:
        """Wait for its turn; return False at the deadline (loop time), or once nobody may wait."""
        return await self._until(deadline, is_due=True)

    async def until(self, deadline: float) -> bool:
        """Wait until there may be news since it has read, and for its turn; return False like `turn`."""
        return await self._until(deadline, is_due=self.seen < self._crowd.version)

    async def _until(self, deadline: float, *, is_due: bool) -> bool:
        if self._crowd.is_closed:
            return False
        self._turn.clear()
        self._crowd.add(self, is_due=is_due)
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.wait()
        except TimeoutError:
            return False
        finally:
            self._crowd.remove(self)
        return not self._crowd.is_closed

    def begin(self) -> None:
        self._turn.set()


class Watchers:
    """All watchers of the feed. Used from one event loop."""

    def __init__(self, clock: Callable[[], float] = lambda: asyncio.get_running_loop().time()) -> None:
        self._clock = clock
        self._idle = OrderedDict[FeedWatcher, None]()
        """Watchers that had read everything when they came: each has read no less than those before it."""
        self._due = OrderedDict[FeedWatcher, None]()
        self._left, self._at = float(BURST), 0.0
        self._timer: asyncio.Handle | None = None
        self._later: asyncio.Handle | None = None
        self.version = self.count = 0
        self.is_closed = False

    @contextmanager
    def watcher(self) -> Iterator[FeedWatcher]:
        self.count += 1
        try:
            yield FeedWatcher(self)
        finally:
            self.count -= 1

    def notify(self, *, may_wait: bool = False) -> None:
        """Report that the feed has changed. This takes a moment, however many watch it.

        A change that `may_wait` is served together with the next ones, after `TOGETHER` seconds at the latest.
        """
        self.version += 1
        if not may_wait:
            self._serve_soon()
        elif self._later is None and not self.is_closed:
            self._later = asyncio.get_running_loop().call_later(TOGETHER, self._serve_later)

    def takes(self) -> bool:
        """Return whether one more response is allowed now, and count it if so. Waiting watchers come first."""
        return not self._due and self._is_allowed()

    def add(self, watcher: FeedWatcher, *, is_due: bool) -> None:
        (self._due if is_due else self._idle)[watcher] = None
        if is_due:
            self._serve_soon()

    def remove(self, watcher: FeedWatcher) -> None:
        self._due.pop(watcher, None)
        self._idle.pop(watcher, None)

    def close(self) -> None:
        """Wake all of them, and let none wait from now on."""
        self.is_closed = True
        for watcher in (*self._idle, *self._due):
            watcher.begin()
        for timer in (self._timer, self._later):
            if timer is not None:
                timer.cancel()

    def _is_allowed(self) -> bool:
        now = self._clock()
        self._left = min(float(BURST), self._left + (now - self._at) * RATE)
        self._at = now
        allowed = self._left >= 1
        self._left -= allowed
        return allowed

    def _serve_soon(self) -> None:
        if self._timer is None and not self.is_closed:
            self._timer = asyncio.get_running_loop().call_soon(self._serve)

    def _serve_later(self) -> None:
        self._later = None
        self._serve_soon()

    def _serve(self) -> None:
        """Give turns to due watchers, as many as are allowed; serve the others later."""
        self._timer = None
        # An idle watcher is served once the feed has changed since it was read; the first has read the least.
        while self._due or (self._idle and next(iter(self._idle)).seen < self.version):
            if not self._is_allowed():
                self._timer = asyncio.get_running_loop().call_later(_SLICE, self._serve)
                return
            (self._due or self._idle).popitem(last=False)[0].begin()
