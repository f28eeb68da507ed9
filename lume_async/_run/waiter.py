"""`Waiter`: probe, sleep, repeat, until the probe is done or the time is up. Knows no HTTP."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

from attrs import define, frozen

from lume_async._base.backoff import LAST_POLL, Backoff, Rng, after_failure
from lume_async._base.clock import Clock

T = TypeVar("T")


@frozen
class Seen(Generic[T]):
    """The result of one probe.

    Attributes:
        done: whether the wait is over.
        not_before: seconds the server asked us to wait before the next poll.
        waited: whether the server waited for a change before it answered, so that no sleep is needed.
    """

    value: T
    done: bool
    not_before: float = 0.0
    waited: bool = False


class Unfinished(Exception):
    """The time, or the number of probes, was used up.

    Attributes:
        probes: the number of probes.
        last_error: the error of the last failed probe, if any.
        quiet: the seconds the server asked us to wait, if that was past the deadline; otherwise 0.
        in_time: whether the probes were used up before the deadline.
    """

    def __init__(
        self, probes: int, last_error: Exception | None, quiet: float = 0.0, *, in_time: bool = False
    ) -> None:
        super().__init__(probes)
        self.probes = probes
        self.last_error = last_error
        self.quiet = quiet
        self.in_time = in_time


@define(eq=False)
class Waiter(Generic[T]):
    """Await it: probes at once, then after each delay of the back-off, until a probe is done.

    Args:
        probe: probes once; its argument is the number of seconds that it may take (None: no limit).
        timeout: seconds for the whole wait; 0 probes once, None waits indefinitely.
        tolerate: called with the error of a probe; returns the minimum delay in seconds, or None to end the wait.

    Raises:
        Unfinished: the time, or the number of probes, was used up.
        Exception: an error of a probe that `tolerate` did not accept.
    """

    probe: Callable[[float | None], Awaitable[Seen[T]]]
    backoff: Backoff
    timeout: float | None
    clock: Clock
    rng: Rng
    tolerate: Callable[[Exception], float | None]
    max_probes: int | None = None
    not_before: float = 0.0

    def __await__(self) -> Generator[Any, None, T]:
        return self._run().__await__()

    async def _run(self) -> T:
        deadline = None if self.timeout is None else self.clock.now() + self.timeout
        probes, failed, failures, last_error = 0, 0, 0, None
        if self.not_before > 0:
            if self.timeout is not None and self.not_before > self.timeout:
                raise Unfinished(probes, last_error, self.not_before)
            await self.clock.sleep(self.not_before)
        while True:
            left = None if deadline is None else deadline - self.clock.now()
            last = left is not None and left <= 0
            try:
                seen = await self.probe(LAST_POLL if last else left)
            except Exception as error:
                floor = self.tolerate(error)
                if floor is None:
                    raise
                last_error, failed, failures = error, failed + 1, failures + 1
                delay = self.backoff.delay(probes, self.rng)
                if self.max_probes is None:  # otherwise an outage would use up the probes within seconds
                    delay = after_failure(delay, failures, self.rng)
            else:
                if seen.done:
                    return seen.value
                floor, failures = seen.not_before, 0
                # Only successful probes lengthen the interval: a failure says nothing about the run.
                delay = 0.0 if seen.waited else self.backoff.delay(probes - failed, self.rng)
            probes += 1
            if last or probes == self.max_probes:
                break
            delay = max(floor, delay)
            if deadline is not None:
                left = max(0.0, deadline - self.clock.now())
                if floor > left:
                    raise Unfinished(probes, last_error, floor)  # no last probe
                delay = min(delay, left)
            await self.clock.sleep(delay)
        raise Unfinished(probes, last_error, in_time=not last)
