"""Time limits of many requests on one timer: each keeps the rules of `asyncio.timeout`."""

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from lume_async._http.time_limits import TimeLimit, TimeLimits
from lume_async.testing import StuckError
from lume_async.testing._loop import VirtualLoop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run the program in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


async def limited(limits: TimeLimits, seconds: float, work: float) -> float:
    """Work for so long within so many seconds; how long it took."""
    begun = now()
    try:
        with TimeLimit(limits, seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        assert work > seconds
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    return now() - begun


def test_each_ends_at_its_own_time_whatever_the_order() -> None:
    chance = random.Random(1)
    plans = [(chance.uniform(0.01, 90), chance.uniform(0.01, 90), chance.uniform(0, 60)) for _ in range(300)]

    async def one(limits: TimeLimits, start: float, seconds: float, work: float) -> float:
        await asyncio.sleep(start)
        return await limited(limits, seconds, work)

    async def main() -> list[float]:
        limits = TimeLimits()
        return await asyncio.gather(*(one(limits, start, *times) for *times, start in plans))

    took = run(main())
    assert took == pytest.approx([min(seconds, work) for seconds, work, _ in plans])


def test_one_timer_serves_all() -> None:
    async def main() -> int:
        loop, limits, timers = asyncio.get_running_loop(), TimeLimits(), list[float]()
        call_at = loop.call_at

        def counted(when: float, callback: Any, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
            if callback == limits._ring:
                timers.append(when)
            return call_at(when, callback, *arguments, **named)

        loop.call_at = counted  # type: ignore[method-assign]
        for _ in range(1_000):
            await limited(limits, 60, 0.01)
        return len(timers)

    assert run(main()) == 1


def test_no_timer_is_left_in_the_end() -> None:
    async def main() -> None:
        await limited(TimeLimits(), 60, 0.01)
        await asyncio.sleep(61)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError):
        run(main())


def test_who_is_cancelled_from_outside_is_no_timeout() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(limited(TimeLimits(), 60, 30))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_cancellation_in_the_moment_of_the_timeout_is_not_lost() -> None:
    async def main() -> None:
        limits = TimeLimits()
        task = asyncio.ensure_future(limited(limits, 5, 30))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(now() + 5, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main())


def test_inside_another_timeout_each_ends_its_own_block() -> None:
    async def main() -> list[str]:
        limits, ended = TimeLimits(), list[str]()
        try:
            async with asyncio.timeout(2):
                await limited(limits, 1, 9)
                ended.append("inner")
                await limited(limits, 5, 9)
        except TimeoutError:
            ended.append("outer")
        return ended

    assert run(main()) == ["inner", "outer"]


def test_what_the_block_raises_instead_is_kept() -> None:
    async def main() -> int:
        with pytest.raises(ValueError, match="instead"), TimeLimit(TimeLimits(), 1):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                raise ValueError("instead") from None
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run(main()) == 0


async def test_a_limit_that_is_over_at_once_ends_its_own_block_alone() -> None:
    """Where the time left rounds to nothing, the timer of one loop is not that of another."""
    limits = TimeLimits()
    for seconds in (0.0, -1.0, 1e-9):
        others = [asyncio.ensure_future(limited(limits, seconds + more, 5)) for more in (0.0, 1e-6, -1e-6)]
        with pytest.raises(TimeoutError), TimeLimit(limits, seconds):
            await asyncio.sleep(5)
        await asyncio.gather(*others)


async def test_a_limit_that_begins_after_a_stall_has_all_of_its_time() -> None:
    """A loop may give the time at which its present round began: before what has blocked it."""
    limits = TimeLimits()
    early = asyncio.ensure_future(limited(limits, 0.1, 5))
    await asyncio.sleep(0)
    time.sleep(0.3)
    with TimeLimit(limits, 0.2):
        await asyncio.sleep(0.01)
    await early


@pytest.mark.parametrize("fails", ["call_at", "call_later"])
async def test_a_limit_that_could_not_begin_cancels_nobody_later(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task has left the block long ago, and waits for something else."""
    limits = TimeLimits()
    loop = Unwilling(limits.loop, fails)
    limits.loop = loop  # type: ignore[assignment]
    try:
        with TimeLimit(limits, 0.01):
            pass
    except RuntimeError:
        assert loop.refused
    loop.fails = ""
    with TimeLimit(limits, 0.02):  # on the same timer
        pass
    await asyncio.sleep(0.1)


class Unwilling:
    """A loop whose timers can't be set for now."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fails: str) -> None:
        self._loop = loop
        self.fails = fails
        self.refused = False

    def __getattr__(self, name: str) -> Any:
        if name == self.fails:
            self.refused = True
            raise RuntimeError("no timer")
        return getattr(self._loop, name)
