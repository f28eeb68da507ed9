"""`progress`: periodic snapshots of the progress of many runs, for the user's own display."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from functools import partial
from time import monotonic

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from attrs import frozen

from lume_async._base import arguments
from lume_async._base.batched import Chunked, Items, pull
from lume_async._base.duration import Duration, seconds
from lume_async._base.public import public
from lume_async._base.tasks import background
from lume_async._many.owned import owned
from lume_async._many.summary import Summary
from lume_async.models import Outcome

Outcomes = Iterable[Outcome[object]] | AsyncIterable[Outcome[object]]
WINDOW = 60.0
"""The period, in seconds, over which the rate is measured."""


@public
@frozen
class Progress:
    """The progress of many runs.

    Attributes:
        summary: the outcomes so far; a copy that does not change.
        total: the number of outcomes to expect; None if it was not given.
        elapsed: seconds since the start.
        rate: outcomes per second during the last minute, excluding outcomes replayed from a journal.
        ended: whether this is the last snapshot, with every outcome.

    Examples:
        >>> async for progress in lume_async.progress(client.as_completed(runs), total=len(runs)):
        ...     print(progress)
    """

    summary: Summary
    total: int | None
    elapsed: float
    rate: float
    ended: bool

    @property
    def done(self) -> int:
        """The number of outcomes so far."""
        return self.summary.outcomes

    @property
    def remaining(self) -> float | None:
        """Estimated seconds until the end; None if unknown."""
        if self.ended:
            return 0.0
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate

    def __str__(self) -> str:
        """Return one line for a terminal."""
        parts = [f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"]
        parts += [f"{status} {count:,}" for status, count in self.summary.statuses.most_common()]
        if not self.ended:
            parts.append(f"{self.rate:.1f}/s")
            if self.remaining is not None:
                minutes, left = divmod(round(self.remaining), 60)
                parts.append(f"{minutes}:{left:02} left")
        return "  ".join(parts)


def progress(outcomes: Outcomes, *, total: int | None, every: Duration) -> Items[Progress]:
    """Implement `lume_async.progress`; raises for bad arguments before the first step."""
    if total is not None:
        arguments.whole(total, "total", 0)
    pause = seconds(every, "every")
    if pause <= 0:
        raise ValueError(f"every must be longer than 0 s, not {arguments.shown(every)}")
    arguments.several(outcomes, "outcomes", "outcomes, such as run_many returns", (Iterable, AsyncIterable))
    return Chunked(_snapshots(outcomes, total, pause), "snapshots")


class _Camera:
    """Counts outcomes and creates the snapshots. The time is an argument."""

    def __init__(self, total: int | None) -> None:
        self.summary = Summary()
        self._total = total
        self._recent: deque[tuple[float, int]] = deque()  # (time, number of new outcomes)
        self._begun: float | None = None

    def snapshot(self, now: float, *, ended: bool = False) -> Progress:
        self._begun = now if self._begun is None else self._begun
        while len(self._recent) > 1 and now - self._recent[1][0] >= WINDOW:
            self._recent.popleft()
        new = self.summary.outcomes - self.summary.remembered
        self._recent.append((now, new))
        since, before = self._recent[0]
        rate = (new - before) / (now - since) if now > since else 0.0
        return Progress(self.summary.copy(), self._total, now - self._begun, rate, ended)


def _snapshots(outcomes: Outcomes, total: int | None, pause: float) -> AsyncGenerator[list[Progress], None]:
    """Return an iteration of snapshots: at the start, every `pause` seconds, and at the end."""
    camera = _Camera(total)

    def now(*, ended: bool = False) -> Progress:
        return camera.snapshot(monotonic(), ended=ended)

    async def work(snapshots: "MemoryObjectSendStream[Callable[[], Progress]]") -> None:
        """Count the outcomes while another task sends snapshots."""

        async def send_every_pause() -> None:
            while True:
                await anyio.sleep(pause)
                await snapshots.send(now)

        first = now()
        await snapshots.send(lambda: first)
        failure: Exception | None = None
        async with background() as group:
            group.start_soon(send_every_pause)
            try:
                async with aclosing(pull(outcomes)) as source:
                    async for outcome in source:
                        camera.summary.add(outcome)
            except Exception as error:
                failure = error
        await snapshots.send(partial(now, ended=failure is None))
        if failure is not None:
            raise failure

    # A snapshot is created when the reader takes it, so that a slow reader sees the latest state.
    return owned(work, take=lambda snapshot: [snapshot()])
