"""`TimeLimits`: the time limits of all requests in an event loop, on one timer.

Almost no limit is ever reached, and `asyncio.timeout` sets a timer and cancels it for each. Measured by CPU time of
a `run_status`, beside aiohttp alone (`benchmarks/request.py`; a range of 1 and of 64 requests at a time):

                    this            asyncio.timeout    aiohttp's `total`
    3.13, asyncio   1.02 to 1.04    1.05 to 1.10       1.07 to 1.10
    3.13, uvloop    1.00 to 1.01    1.07 to 1.12       1.11 to 1.15
    3.11, asyncio   1.03 to 1.06    1.08 to 1.19       1.13 to 1.16
    3.11, uvloop    1.01 to 1.03    1.10 to 1.11       1.10 to 1.11
"""

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class TimeLimits:
    """Made in the loop whose requests it limits.

    Args:
        is_connecting: whether the task has no connection yet.
    """

    def __init__(self, is_connecting: Callable[[asyncio.Task[Any]], bool] = lambda task: False) -> None:
        self.is_connecting = is_connecting
        self.loop = asyncio.get_running_loop()
        self._running: set[TimeLimit] = set()
        self._timer: asyncio.Handle | None = None
        # Not asked of the timer: what a loop returns for one that is due at once may not know its time.
        self._planned = math.inf

    def add(self, limit: "TimeLimit") -> None:
        """From now on it ends when its time comes."""
        if limit.ends < self._planned:
            self._plan(limit.ends)
        self._running.add(limit)  # last: nothing may end a block that was never entered

    def remove(self, limit: "TimeLimit") -> None:
        """Its block was left. The timer stays: whoever comes next would need one again."""
        self._running.discard(limit)

    def _plan(self, moment: float) -> None:
        timer = self.loop.call_at(moment, self._ring)
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._planned = timer, moment

    def _ring(self) -> None:
        now = max(self._planned, self.loop.time())  # a loop may be early by what it rounds
        self._timer, self._planned = None, math.inf
        over = [limit for limit in self._running if limit.ends <= now]
        self._running.difference_update(over)
        if self._running:
            self._plan(min(limit.ends for limit in self._running))
        for limit in over:
            limit.ring()


class TimeLimit:
    """A block that raises `TimeoutError` when so many seconds are over; like `asyncio.timeout`, with its rules.

    The task is cancelled; that is taken back here, unless somebody else has cancelled it too.
    """

    __slots__ = ("_before", "_limits", "_rung", "_task", "connected", "ends")

    _before: int
    _task: asyncio.Task[Any]

    def __init__(self, limits: TimeLimits, seconds: float) -> None:
        self._limits = limits
        self._rung = False
        self.ends = limits.loop.time() + seconds
        """When, by the clock of the loop."""
        self.connected = True
        """Whether there was a connection when the time was up: else nothing was sent."""

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self._limits.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limits.remove(self)
        if self._rung and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def ring(self) -> None:
        """The time is up."""
        self._rung = True
        self.connected = not self._limits.is_connecting(self._task)
        self._task.cancel()
