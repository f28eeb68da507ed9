"""`TimeLimits`: the time limits of all requests in an event loop, on one timer.

Almost no limit is ever reached, but `asyncio.timeout` sets and cancels a timer for each. CPU time of a `run_status`
relative to aiohttp alone (`benchmarks/request.py`; the range for 1 and 64 requests at a time):

                    this            asyncio.timeout    aiohttp's `total`
    3.13, asyncio   1.02 to 1.04    1.05 to 1.10       1.07 to 1.10
    3.13, uvloop    1.00 to 1.01    1.07 to 1.12       1.11 to 1.15
    3.11, asyncio   1.03 to 1.06    1.08 to 1.19       1.13 to 1.16
    3.11, uvloop    1.01 to 1.03    1.10 to 1.11       1.10 to 1.11
"""

import asyncio
import math
from collections.abc import Container
from types import TracebackType
from typing import Any, Self


class TimeLimits:
    """The limits of one loop, created in it."""

    def __init__(self, connecting: Container[asyncio.Task[Any] | None] = ()) -> None:
        self.connecting = connecting
        self.loop = asyncio.get_running_loop()
        self._running: dict[
            TimeLimit, None
        ] = {}  # no set: of equal ends, the first to begin is the first to end
        self._timer: asyncio.Handle | None = None
        # Kept here, since the handle of a timer that is due at once may not know its time.
        self._planned = math.inf

    def add(self, limit: "TimeLimit") -> None:
        if limit.ends < self._planned:
            self._plan(limit.ends)
        self._running[limit] = None  # last, so that nothing can end a block that was not entered

    def remove(self, limit: "TimeLimit") -> None:
        """Deactivate the limit. The timer stays, for the next limit."""
        self._running.pop(limit, None)

    def give_up(self) -> None:
        """End the limits of all tasks that have no connection yet."""
        for limit in [limit for limit in self._running if limit.task in self.connecting]:
            del self._running[limit]
            limit.ring()

    def _plan(self, moment: float) -> None:
        timer = self.loop.call_at(moment, self._ring)
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._planned = timer, moment

    def _ring(self) -> None:
        now = max(self._planned, self.loop.time())  # a loop may be slightly early, due to rounding
        self._timer, self._planned = None, math.inf
        over = [limit for limit in self._running if limit.ends <= now]
        for limit in over:
            del self._running[limit]
        if self._running:
            self._plan(min(limit.ends for limit in self._running))
        for limit in over:
            limit.ring()


class TimeLimit:
    """A block that raises `TimeoutError` after the given seconds, with the rules of `asyncio.timeout`.

    It cancels the task, and undoes that unless the task was cancelled by others too.
    """

    __slots__ = ("_before", "_limits", "_rung", "connected", "ends", "task")

    _before: int
    task: asyncio.Task[Any]

    def __init__(self, limits: TimeLimits, seconds: float) -> None:
        self._limits = limits
        self._rung = False
        self.ends = limits.loop.time() + seconds
        """The deadline, by the loop's clock."""
        self.connected = True
        """Whether there was a connection at the deadline; otherwise nothing was sent."""

    def extend(self, seconds: float) -> None:
        """Move the deadline to `seconds` from now, never to an earlier moment."""
        self.ends = max(self.ends, self._limits.loop.time() + seconds)

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self.task, self._before = task, task.cancelling()
        self._limits.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limits.remove(self)
        if self._rung and self.task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def ring(self) -> None:
        """End the block: its time is over."""
        self._rung = True
        self.connected = self.task not in self._limits.connecting
        self.task.cancel()
