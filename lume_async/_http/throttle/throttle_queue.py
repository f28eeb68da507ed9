"""`ThrottleQueue`: lets requests through as the throttle allows, in the order in which they came."""

import asyncio
import math

from lume_async._base.clock import Clock
from lume_async._http.per_loop import PerLoop
from lume_async._http.throttle.throttle import Throttle

NAP = 0.02
"""Seconds after which the first in the queue looks again: an answer may have opened the throttle before its time."""


class ThrottleQueue:
    """Where requests wait for the throttle; one queue per event loop."""

    def __init__(self, throttle: Throttle, clock: Clock) -> None:
        self._throttle = throttle
        self._clock = clock
        self._lock = PerLoop(asyncio.Lock)

    async def enter(self) -> int:
        """Wait until the next request may be sent; returns the throttle's epoch, for the answer to that request.

        The first in the queue holds the lock while it waits for its time; one that is cancelled
        leaves the queue and uses up no turn.
        """
        throttle = self._throttle
        if throttle.rate is not None:
            async with self._lock.get():
                # Each moment is slept for once: where sleeps take no time, that is enough.
                slept_until = -math.inf
                while (until := throttle.opens_at) > (now := max(self._clock.now(), slept_until)):
                    slept_until = min(until, now + NAP)
                    await self._clock.sleep(slept_until - now)
                throttle.take(self._clock.now())
        return throttle.epoch
