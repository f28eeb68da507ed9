"""One gate per client: when the server says 429 or 503, everybody waits, and all come back gradually."""

import asyncio
import math

from lume_async._base.clock import Clock
from lume_async._http.per_loop import PerLoop

FIRST_RATE = 10.0
"""Requests a second after a refusal, where nothing faster was seen to work."""

CLOSED, LONGEST_CLOSED = 0.5, 30.0
"""Seconds that the gate stays closed where the server names none: doubled at each refusal in a row."""

QUIET = 60.0
"""Seconds without a refusal after which the pace is no longer held."""

QUICK_GROWTH, SLOW_GROWTH, CUT = 0.2, 0.05, 0.7
"""By how much a success raises the rate: 0.2 doubles it in 3.5 seconds, 0.05 adds 5 % a second, which is how it
grows once a rate was found to be too much and cut (the slow start and congestion avoidance of TCP, RFC 5681).
Quicker, and what a server forgives at once would be taken for what it can do: 2.6 times too much was seen."""


class Pace:
    """When the next request may be sent. Pure: it is told the time."""

    def __init__(self) -> None:
        self.epoch = 0
        self.rate: float | None = None
        """Requests a second; None: as fast as they come, as almost always."""
        self._closed_until = self._next = -math.inf
        self._growth = QUICK_GROWTH
        self._in_a_row = 0
        self._refused_at = -math.inf
        self._second, self._count, self._before = -1, 0, 0  # successes in this second and in the one before

    def delay(self, now: float) -> float:
        """Seconds until the next request may go."""
        return 0.0 if self.rate is None else self.opens_at - now

    @property
    def opens_at(self) -> float:
        """When the next request may go, where the pace is not free."""
        return -math.inf if self.rate is None else max(self._closed_until, self._next)

    def take(self, now: float) -> None:
        """A request goes now."""
        if self.rate is not None:
            self._next = max(now, self._next) + 1 / self.rate

    def succeeded(self, now: float) -> None:
        """The server took a request."""
        second = math.floor(now)
        if second != self._second:
            self._before = self._count if second == self._second + 1 else 0
            self._second, self._count = second, 0
        self._count += 1
        if self.rate is None:
            return
        self._in_a_row = 0
        self.rate += self._growth
        if now - self._refused_at > QUIET:
            self.rate = None

    def refused(self, now: float, epoch: int, retry_after: float | None) -> None:
        """The server said 429 or 503 to a request that was sent in `epoch`.

        One burst can bring a hundred refusals: only the first of those that were sent before it cuts the rate.
        """
        if retry_after is not None:
            self._closed_until = max(self._closed_until, now + retry_after)
        if epoch != self.epoch:
            return
        self.epoch += 1
        if retry_after is None:
            pause = min(LONGEST_CLOSED, CLOSED * 2**self._in_a_row)
            self._closed_until = max(self._closed_until, now + pause)
        self._in_a_row = min(self._in_a_row + 1, 10)
        self._refused_at = now
        if self.rate is None:
            self.rate = max(FIRST_RATE, max(self._count, self._before) / 2)
            self._growth = QUICK_GROWTH
        else:
            self.rate = max(1.0, self.rate * CUT)
            self._growth = SLOW_GROWTH


class Gate:
    """Lets requests through at the pace, in the order in which they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue = PerLoop(asyncio.Lock)
        self.pace = Pace()

    async def enter(self) -> int:
        """Wait until the next request may go; returns the pace's epoch, to be told with a refusal.

        The first in the queue holds the lock while it waits for its time; whoever is cancelled leaves the
        queue and takes no slot with it.
        """
        pace = self.pace
        if pace.rate is not None:
            async with self._queue.get():
                # Each moment is slept for once: where sleeps take no time, that is enough.
                slept_until = -math.inf
                while (until := pace.opens_at) > max(now := self._clock.now(), slept_until):
                    slept_until = until
                    await self._clock.sleep(until - now)
                pace.take(self._clock.now())
        return pace.epoch
