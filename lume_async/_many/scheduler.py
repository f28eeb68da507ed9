"""`Scheduler`: many keys, each to be looked at when it is due: one heap and a bounded set of looks.

Keys that are due within the same few milliseconds share a heap item: the heap stays small however many there are.
A key that sleeps costs a list item and a dict item: no task, no timer, no connection. Knows no HTTP.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Awaitable, Callable

from lume_async._base.clock import Clock

SLACK = 0.005
"""Seconds that a look may come too early or too late: what is due within them shares a slot and is started together,
which halves the cost of a look against one timer each."""

FARTHEST = 1e9
"""No look is more than so many seconds (30 years) away, however long a delay may be: it may be infinite."""

SPARE = 64
"""So many entries are kept beyond two for each key before those of earlier times are cleared away."""

_IN_FLIGHT, _AGAIN = -2, -1
"""In place of a slot: being looked at; being looked at, and to be looked at once more at once."""


class Scheduler:
    """Calls `look(key)` when the key is due; its answer is the delay until the next look, None for never.

    One look at a key at a time. What is asked for during a look, such as a key that is added anew, comes after it.

    Args:
        look: must not raise; what it raises all the same ends the whole schedule through `failed`.
        limit: how many looks may be under way at once.
        clock: where now and sleep come from.
        failed: told what went wrong in here.
    """

    def __init__(
        self,
        look: Callable[[str], Awaitable[float | None]],
        *,
        limit: int,
        clock: Clock,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._look = look
        self._limit = limit
        self._clock = clock
        self._failed = failed
        self._due: dict[str, int] = {}  # the slot of each key
        self._slots: dict[int, list[str]] = {}
        self._entries = 0  # in all slots, those of discarded keys and of times that were replaced among them
        self._heap: list[tuple[float, int]] = []  # a slot, and when it starts: the due time of its first key
        self._born = clock.now()
        self._ready: deque[str] = deque()
        self._looking: set[str] = set()  # ready or being looked at, also if discarded since
        self._workers: set[asyncio.Task[None]] = set()
        self._parked: list[asyncio.Future[None]] = []  # what idle workers wait for
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = math.inf
        self._last_round = False
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: str) -> bool:
        return key in self._due

    def add(self, key: str, delay: float) -> None:
        """Look at the key in `delay` seconds; a key that is there already keeps the earlier time."""
        due = self._due_in(delay)
        present = self._due.get(key)
        if present is None and key in self._looking:
            self._due[key] = _AGAIN
        # The marks of a look under way are less than any slot.
        elif present is None or present > self._slot(due):
            self._push(key, due)

    def delay_all(self, delay: Callable[[], float]) -> None:
        """Give every key a new time, `delay()` seconds from now; those being looked at have it at once."""
        now = self._clock.now()
        for key, slot in list(self._due.items()):
            if slot >= 0:
                self._push(key, now + delay())
            else:
                self._due[key] = _AGAIN

    def discard(self, key: str) -> None:
        """Forget the key; a look at it that is under way ends, but has no successor."""
        self._due.pop(key, None)
        self._check_empty()

    def wake(self, key: str) -> None:
        """Look at the key now; if it is being looked at, once more afterwards."""
        slot = self._due.get(key)
        if slot is None:
            return
        if slot >= 0:
            self._push(key, self._clock.now())
        else:
            self._due[key] = _AGAIN

    async def last_round(self, limit: float) -> None:
        """Look at every key once more, for at most `limit` seconds altogether, and then never again."""
        self._last_round = True
        self._check_empty()
        for key in list(self._due):
            self.wake(key)
        try:
            async with asyncio.timeout(limit):
                await self._empty.wait()
        except TimeoutError:
            pass

    async def aclose(self) -> None:
        """Stop every look that is under way and wait for its clean-up."""
        self._due.clear()
        self._looking.clear()
        tasks = [*self._workers, *([self._timer] if self._timer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
        heapq.heappush(self._heap, (due, slot))
        if due < self._timer_due:
            self._arm(due)

    def _clear_away(self) -> None:
        """Keep what is still due; a cost that is shared by the pushes that made it necessary."""
        self._slots.clear()
        for key, slot in self._due.items():
            if slot >= 0:
                self._slots.setdefault(slot, []).append(key)
        self._heap = [item for item in self._heap if item[1] in self._slots]
        heapq.heapify(self._heap)
        self._entries = sum(map(len, self._slots.values()))

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.ensure_future(self._tick(due))
        self._timer.add_done_callback(self._ended)

    async def _tick(self, due: float) -> None:
        """Sleep until `due`, start what is due then, and set the timer again."""
        await self._clock.sleep(max(0.0, due - self._clock.now()))
        self._timer, self._timer_due = None, math.inf
        self._start_due()
        if self._heap:
            self._arm(self._heap[0][0])

    def _start_due(self) -> None:
        now, heap, known = self._clock.now(), self._heap, self._due
        while heap and heap[0][0] <= now:
            slot = heapq.heappop(heap)[1]
            keys = self._slots.pop(slot)
            self._entries -= len(keys)
            for key in keys:
                if known.get(key) == slot:  # else it was discarded or got another time since
                    known[key] = _IN_FLIGHT
                    self._looking.add(key)
                    self._ready.append(key)
        waiting = len(self._ready)
        while waiting and self._parked:
            self._parked.pop().set_result(None)
            waiting -= 1
        for _ in range(min(waiting, self._limit - len(self._workers))):
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_done)

    async def _work(self) -> None:
        """Look at what is ready; idle, wait to be woken: that costs half of what a new task does."""
        ready, due, look = self._ready, self._due, self._look
        loop = asyncio.get_running_loop()
        while True:
            while ready:
                key = ready.popleft()
                delay = await look(key) if key in due else None
                self._looked(key, delay)
            parked = loop.create_future()
            self._parked.append(parked)
            await parked

    def _looked(self, key: str, delay: float | None) -> None:
        self._looking.discard(key)
        mark = self._due.get(key)
        if mark is None:
            return
        if mark == _AGAIN:
            self._push(key, self._clock.now())
        elif delay is None or self._last_round:
            self.discard(key)
        else:
            self._push(key, self._due_in(delay))

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if worker.cancelled():
            if self._looking:  # closing empties it first: this came from within a look, its key would be lost
                self._failed(RuntimeError("a look was cancelled, and not by whom it belongs to"))
        else:
            self._ended(worker)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _check_empty(self) -> None:
        if self._last_round and not self._due:
            self._empty.set()
