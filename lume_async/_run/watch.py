"""`RunWatch`: follows one run, with a snapshot at every change of its status."""

from collections.abc import Callable
from typing import Generic, TypeVar

from lume_async._base.backoff import Backoff
from lume_async._base.batched import Items, Steps
from lume_async._base.clock import Clock
from lume_async._run.poll import RunPoll
from lume_async._run.waiter import Unfinished
from lume_async.errors import RunTimeoutError
from lume_async.models import RunRecord, RunStatus

Snapshot = TypeVar("Snapshot")


class RunWatch(Items[Snapshot], Generic[Snapshot]):
    """Yields a snapshot at every change of the status and ends after the terminal one.

    Nothing runs between two steps: the iteration can be left at any point, and any task may take the next step.
    """

    def __init__(
        self,
        poll: Callable[[Callable[[RunRecord], bool]], RunPoll],
        snapshot: Callable[[RunRecord], Snapshot],
        timed_out: Callable[[Unfinished], RunTimeoutError],
        *,
        backoff: Backoff,
        timeout: float | None,
        clock: Clock,
    ) -> None:
        self._poll = poll(self._is_news)
        self._snapshot = snapshot
        self._timed_out = timed_out
        self._backoff = backoff
        self._timeout = timeout
        self._clock = clock
        self._deadline: float | None = None
        self._shown: RunStatus | None = None
        self._ended = False
        self._steps = Steps(self._next)

    async def __anext__(self) -> Snapshot:
        """Return the next snapshot. Raises `RunTimeoutError` from `timeout` seconds after the first step on."""
        return await self._steps.next()

    async def _next(self) -> Snapshot:
        if self._ended:
            raise StopAsyncIteration
        try:
            record = await self._poll.wait(self._backoff, self._left())
        except Unfinished as caught:
            unfinished = caught
        else:
            self._shown, self._ended = record.status, record.is_terminal
            return self._snapshot(record)
        self._ended = True
        raise self._timed_out(unfinished) from unfinished.last_error

    async def aclose(self) -> None:
        """End the iteration."""
        await self._steps.aclose()

    def _is_news(self, record: RunRecord) -> bool:
        return record.status != self._shown or record.is_terminal

    def _left(self) -> float | None:
        if self._timeout is None:
            return None
        if self._deadline is None:
            self._deadline = self._clock.now() + self._timeout
        return max(0.0, self._deadline - self._clock.now())
