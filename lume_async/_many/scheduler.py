"""`Scheduler`: polls many keys, each when it is due, with one heap and a bounded set of workers. Knows no HTTP.

Keys that are due within the same few milliseconds share a heap item, so the heap stays small. A key that is not due
costs a list item and a dict item: no task, no timer, no connection.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable

from anyio import CancelScope, move_on_after, sleep_forever
from anyio.abc import TaskGroup

from lume_async._base.clock import Clock
from lume_async._base.tasks import is_being_cancelled, task_group

SLACK = 0.005
"""Seconds that a poll may be early or late. Keys that are due within them share a heap item, which halves the cost of
a poll compared to separate timers."""

FARTHEST = 1e9
"""The longest delay in seconds (30 years); longer ones, even infinite ones, are capped."""

SPARE = 64
"""Stale entries are removed when the number of all entries exceeds two per key by this number."""

_IN_FLIGHT, _AGAIN = -2, -1
"""In place of a time slot: a poll is in flight; a poll is in flight, and another one must follow at once."""


class Scheduler:
    """Calls `poll(key)` when the key is due; it returns the delay in seconds until the next poll, None for never.

    A key has at most one poll in flight; requests during a poll are executed after it. Polling starts with `run`.
    """

    def __init__(self, poll: Callable[[str], Awaitable[float | None]], *, limit: int, clock: Clock) -> None:
        self._poll = poll
        self._limit = limit
        self._clock = clock
        self._due: dict[str, int] = {}  # the time slot of each key
        self._slots: dict[int, list[str]] = {}
        self._entries = 0  # in all slots, including stale ones
        self._heap: list[float] = []  # when each slot starts: the due time of its first key
        self._born = clock.now()
        self._nap: CancelScope | None = None  # around the sleep until the first slot is due
        self._ready: deque[str] = deque()
        self._orphans: set[str] = set()  # discarded while ready or in flight
        self._workers = 0
        self._parked: list[asyncio.Future[None]] = []  # one per idle worker
        self._last_round = False
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Poll the keys that are due, until cancelled. Owns the workers. Raises the exception of a poll."""
        async with task_group() as workers:
            while True:
                with CancelScope() as self._nap:
                    if self._heap:
                        await self._clock.sleep(max(0.0, self._heap[0] - self._clock.now()))
                    else:
                        await sleep_forever()
                self._nap = None
                self._start_due(workers)

    def add(self, key: str, delay: float) -> None:
        """Poll the key in `delay` seconds; a key that is already scheduled keeps the earlier time."""
        due = self._due_in(delay)
        present = self._due.get(key)
        if present is None and key in self._orphans:
            self._due[key] = _AGAIN
        # The marks of a poll in flight are smaller than any slot.
        elif present is None or present > self._slot(due):
            self._push(key, due)

    def delay_all(self, delay: Callable[[], float]) -> None:
        """Reschedule every key in `delay()` seconds; keys with a poll in flight are polled once more at once."""
        now = self._clock.now()
        for key, slot in list(self._due.items()):
            if slot >= 0:
                self._push(key, now + delay())
            else:
                self._due[key] = _AGAIN

    def discard(self, key: str) -> None:
        """Forget the key; a poll in flight is finished, but not followed by another one."""
        if self._due.pop(key, 0) < 0:
            self._orphans.add(key)
        self._check_empty()

    def wake(self, key: str) -> None:
        """Poll the key now; if a poll is in flight, once more afterwards."""
        slot = self._due.get(key)
        if slot is None:
            return
        if slot >= 0:
            self._push(key, self._clock.now())
        else:
            self._due[key] = _AGAIN

    async def last_round(self, limit: float) -> None:
        """Poll every key one last time, for at most `limit` seconds altogether."""
        self._last_round = True
        self._check_empty()
        for key in list(self._due):
            self.wake(key)
        with move_on_after(limit):
            await self._empty.wait()

    def _due_in(self, delay: float) -> float:
        return self._clock.now() + min(delay, FARTHEST)

    def _slot(self, due: float) -> int:
        return max(0, int((due - self._born) / SLACK))

    def _push(self, key: str, due: float) -> None:
        if self._entries > 2 * len(self._due) + SPARE:
            self._remove_stale()
        self._due[key] = slot = self._slot(due)
        self._entries += 1
        keys = self._slots.get(slot)
        if keys is not None:
            keys.append(key)
            return
        self._slots[slot] = [key]
        heapq.heappush(self._heap, due)
        if self._nap is not None and self._heap[0] == due:  # sooner than all others
            self._nap.cancel()

    def _remove_stale(self) -> None:
        """Remove stale entries; the cost is amortized over the pushes that caused them."""
        self._slots.clear()
        for key, slot in self._due.items():
            if slot >= 0:
                self._slots.setdefault(slot, []).append(key)
        self._heap = [due for due in self._heap if self._slot(due) in self._slots]
        heapq.heapify(self._heap)
        self._entries = sum(map(len, self._slots.values()))

    def _start_due(self, workers: TaskGroup) -> None:
        now, heap, known = self._clock.now(), self._heap, self._due
        while heap and heap[0] <= now:
            slot = self._slot(heapq.heappop(heap))
            keys = self._slots.pop(slot)
            self._entries -= len(keys)
            for key in keys:
                if known.get(key) == slot:  # otherwise it was discarded or rescheduled
                    known[key] = _IN_FLIGHT
                    self._ready.append(key)
        waiting = len(self._ready)
        while waiting and self._parked:
            idle = self._parked.pop()
            if not idle.done():  # otherwise its worker was cancelled
                idle.set_result(None)
                waiting -= 1
        for _ in range(min(waiting, self._limit - self._workers)):
            self._workers += 1
            workers.start_soon(self._work)

    async def _work(self) -> None:
        """Poll the ready keys; when idle, wait to be woken.

        Every poll takes this path: a future costs a quarter of a memory object stream, and half of a new task.
        """
        ready, due, poll = self._ready, self._due, self._poll
        loop = asyncio.get_running_loop()
        while True:
            while ready:
                key = ready.popleft()
                try:
                    delay = await poll(key) if key in due else None
                except asyncio.CancelledError:
                    if is_being_cancelled():
                        raise
                    error = RuntimeError("a poll raised CancelledError, although it was not cancelled")
                else:
                    self._reschedule(key, delay)
                    continue
                raise error
            parked = loop.create_future()
            self._parked.append(parked)
            await parked

    def _reschedule(self, key: str, delay: float | None) -> None:
        self._orphans.discard(key)
        mark = self._due.get(key)
        if mark is None:
            return
        if mark == _AGAIN:
            self._push(key, self._clock.now())
        elif delay is None or self._last_round:
            del self._due[key]
            self._check_empty()
        else:
            self._push(key, self._due_in(delay))

    def _check_empty(self) -> None:
        if self._last_round and not self._due:
            self._empty.set()
