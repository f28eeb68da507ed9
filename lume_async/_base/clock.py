"""The clock, which tests can replace."""

import asyncio
import time
from typing import ClassVar, Protocol

AT_WORK: set[object] = set()
"""Unfinished calls of journals in their threads, which a test's clock must wait for."""


class Clock(Protocol):
    """The current time, and sleeping."""

    def now(self) -> float:
        """Return the seconds on a clock that never steps; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Return the seconds since the epoch; may step. Only for comparing with a server's dates."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The system clock: monotonic, so that setting the wall clock neither ends nor extends a wait."""

    scale: ClassVar[float] = 1.0
    """The factor of every sleep; 0 in `lume_async.testing.no_backoff()`."""

    now = staticmethod(time.monotonic)

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.scale)
