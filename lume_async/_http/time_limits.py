"""`TimeLimits`: the time limits of all requests in an event loop, on one timer.

A timer for each request costs a tenth of what the whole request does, and almost none of them ever rings.
"""

import asyncio
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
        self._timer: asyncio.TimerHandle | None = None

    def add(self, limit: "TimeLimit") -> None:
        """From now on it ends when its time comes."""
        self._running.add(limit)
        timer, ends = self._timer, limit.ends
        if timer is None or ends < timer.when():
            if timer is not None:
                timer.cancel()
            self._timer = self.loop.call_at(ends, self._ring, ends)

    def remove(self, limit: "TimeLimit") -> None:
        """Its block was left. The timer stays: whoever comes next would need one again."""
        self._running.discard(limit)

    def _ring(self, planned: float) -> None:
        self._timer = None
        now = max(planned, self.loop.time())
        for limit in self._running:
            if limit.ends <= now:
                limit.ring()
        self._running = {limit for limit in self._running if limit.ends > now}
        if self._running:
            first = min(limit.ends for limit in self._running)
            self._timer = self.loop.call_at(first, self._ring, first)


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
