"""`Scheduler`: many keys, each to be polled when it is due: one heap and a bounded set of workers.

Keys that are due within the same few milliseconds share a heap item: the heap stays small however many there are.
A key that sleeps costs a list item and a dict item: no task, no timer, no connection. Knows no HTTP.
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
"""Seconds that a poll may come too early or too late: what is due within them shares a heap item and is started
together, which halves the cost of a poll against one timer each."""

FARTHEST = 1e9
"""No poll is more than so many seconds (30 years) away, however long a delay may be: it may be infinite."""

SPARE = 64
"""So many entries are kept beyond two for each key before those of earlier times are cleared away."""

_IN_FLIGHT, _AGAIN = -2, -1
"""In place of a time slot: being polled; being polled, and to be polled once more at once."""


class Scheduler:
    """Calls `poll(key)` when the key is due; its answer is the delay until the next poll, None for never.

    One poll of a key at a time. What is asked for during a poll, such as a key that is added anew, comes after it.
    Nothing is polled before `run` has begun.

    Args:
        poll: what it raises ends `run`.
        limit: how many polls may be in flight at once.
        clock: where now and sleep come from.
    """

    def __init__(self, poll: Callable[[str], Awaitable[float | None]], *, limit: int, clock: Clock) -> None:
        self._poll = poll
        self._limit = limit
        self._clock = clock
        self._due: dict[str, int] = {}  # the time slot of each key
        self._slots: dict[int, list[str]] = {}
        self._entries = 0  # in all slots, those of discarded keys and of times that were replaced among them
        self._heap: list[float] = []  # when each slot starts: the due time of its first key
        self._born = clock.now()
        self._nap: CancelScope | None = None  # around the sleep until the first slot is due
        self._ready: deque[str] = deque()
        self._orphans: set[str] = set()  # ready or being polled, and discarded since
        self._workers = 0
        self._parked: list[asyncio.Future[None]] = []  # what idle workers wait for
        self._last_round = False
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: str) -> bool:
        return key in self._due

    async def run(self) -> None:
        """Poll what is due, until cancelled. Owns the workers: with this block they all end.

        Raises:
            Exception: what a poll raised.
        """
        async with task_group() as workers:
            while True:
                with CancelScope() as self._nap:
                    await self._sleep_until_due()
                self._nap = None
                self._start_due(workers)

    def add(self, key: str, delay: float) -> None:
        """Poll the key in `delay` seconds; a key that is there already keeps the earlier time."""
        due = self._due_in(delay)
        present = self._due.get(key)
        if present is None and key in self._orphans:
            self._due[key] = _AGAIN
        # The marks of a poll in flight are less than any slot.
        elif present is None or present > self._slot(due):
            self._push(key, due)

    def delay_all(self, delay: Callable[[], float]) -> None:
        """Give every key a new time, `delay()` seconds from now; those being polled have it at once."""
        now = self._clock.now()
        for key, slot in list(self._due.items()):
            if slot >= 0:
                self._push(key, now + delay())
            else:
                self._due[key] = _AGAIN

    def discard(self, key: str) -> None:
        """Forget the key; a poll of it that is in flight ends, but has no successor."""
        if self._due.pop(key, 0) < 0:
            self._orphans.add(key)
        self._check_empty()

    def wake(self, key: str) -> None:
        """Poll the key now; if it is being polled, once more afterwards."""
        slot = self._due.get(key)
        if slot is None:
            return
        if slot >= 0:
            self._push(key, self._clock.now())
        else:
            self._due[key] = _AGAIN

    async def last_round(self, limit: float) -> None:
        """Poll every key once more, for at most `limit` seconds altogether, and then never again."""
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
            self._clear_away()
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

    def _clear_away(self) -> None:
        """Keep what is still due; a cost that is shared by the pushes that made it necessary."""
        self._slots.clear()
        for key, slot in self._due.items():
            if slot >= 0:
                self._slots.setdefault(slot, []).append(key)
        self._heap = [due for due in self._heap if self._slot(due) in self._slots]
        heapq.heapify(self._heap)
        self._entries = sum(map(len, self._slots.values()))

    async def _sleep_until_due(self) -> None:
        if self._heap:
            await self._clock.sleep(max(0.0, self._heap[0] - self._clock.now()))
        else:
            await sleep_forever()

    def _start_due(self, workers: TaskGroup) -> None:
        now, heap, known = self._clock.now(), self._heap, self._due
        while heap and heap[0] <= now:
            slot = self._slot(heapq.heappop(heap))
            keys = self._slots.pop(slot)
            self._entries -= len(keys)
            for key in keys:
                if known.get(key) == slot:  # else it was discarded or got another time since
                    known[key] = _IN_FLIGHT
                    self._ready.append(key)
        waiting = len(self._ready)
        while waiting and self._parked:
            idle = self._parked.pop()
            if not idle.done():  # else its worker was cancelled
                idle.set_result(None)
                waiting -= 1
        for _ in range(min(waiting, self._limit - self._workers)):
            self._workers += 1
            workers.start_soon(self._work)

    async def _work(self) -> None:
        """Poll what is ready; idle, wait to be woken.

        This is the path of a single poll: a future costs a quarter of a memory object stream here, and half of what
        a new task does.
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
                    error = RuntimeError("a poll was cancelled, and not by whom it belongs to")
                else:
                    self._polled(key, delay)
                    continue
                raise error
            parked = loop.create_future()
            self._parked.append(parked)
            await parked

    def _polled(self, key: str, delay: float | None) -> None:
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
