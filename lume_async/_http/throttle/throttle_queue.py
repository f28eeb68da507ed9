"""`ThrottleQueue`: lets requests through as the throttle allows, in the order in which they came."""

import asyncio
import math

from lume_async._base.clock import Clock
from lume_async._http.per_loop import PerLoop
from lume_async._http.throttle.throttle import Throttle

NAP = 0.02
"""Seconds after which the first in the queue checks again: an answer may have opened the throttle early."""


class ThrottleQueue:
    """The queue of requests that wait for the throttle; one per event loop."""

    def __init__(self, throttle: Throttle, clock: Clock) -> None:
        self._throttle = throttle
        self._clock = clock
        self._lock = PerLoop(asyncio.Lock)

    async def enter(self) -> int:
        """Wait until the next request may be sent; return the throttle's epoch, for the answer to that request.

        The first in the queue holds the lock while it waits for its time; one that is cancelled
        leaves the queue and uses up no turn.
        """
        throttle = self._throttle
        if throttle.rate is not None:
            async with self._lock.get():
                # Sleep only once for each moment: under a fake clock sleeps take no time.
                slept_until = -math.inf
                while (until := throttle.opens_at) > (now := max(self._clock.now(), slept_until)):
                    slept_until = min(until, now + NAP)
                    await self._clock.sleep(slept_until - now)
                throttle.take(self._clock.now())
        return throttle.epoch
