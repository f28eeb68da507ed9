"""Requests that wait for the throttle: in order, none lost, none in another's turn."""

import asyncio

import pytest

from lume_async._http.sender import ThrottleQueue
from lume_async._http.throttle import ROW, SLOWEST, Throttle
from lume_async._wire.answers import Refusal
from lume_async.testing import FakeClock


def pause(throttle: Throttle, now: float, seconds: float) -> None:
    """So many refusals in a row, with a `Retry-After`, that nothing is sent for so long."""
    for _ in range(ROW):
        throttle.refused(now, throttle.epoch, Refusal(wait=seconds))


async def test_an_unlimited_throttle_makes_nobody_wait() -> None:
    clock = FakeClock()
    queue = ThrottleQueue(Throttle(), clock)

    assert [await queue.enter() for _ in range(5)] == [0] * 5
    assert clock.sleeps == []


async def test_after_a_pause_they_go_in_the_order_in_which_they_came() -> None:
    clock, throttle = FakeClock(), Throttle()
    queue, passed = ThrottleQueue(throttle, clock), list[tuple[int, float]]()
    pause(throttle, clock.now(), 3)

    async def pass_through(name: int) -> None:
        await queue.enter()
        passed.append((name, clock.now() - 1_000))

    await asyncio.gather(*(pass_through(n) for n in range(4)))

    assert [name for name, _ in passed] == [0, 1, 2, 3]
    assert [at for _, at in passed] == pytest.approx([3 + n / SLOWEST for n in range(4)])


async def test_who_waits_behind_a_probe_goes_when_it_is_taken() -> None:
    """Not a second later, when the next probe would be due."""
    clock, throttle = FakeClock(), Throttle()
    queue = ThrottleQueue(throttle, clock)
    pause(throttle, clock.now(), 3)
    epoch = await queue.enter()
    waiter = asyncio.ensure_future(queue.enter())
    for _ in range(5):
        await asyncio.sleep(0)
    throttle.succeeded(clock.now(), epoch)
    await waiter

    assert clock.now() - 1_000 < 3.0 + 0.5 / SLOWEST


async def test_who_is_cancelled_uses_up_no_turn() -> None:
    clock, throttle = FakeClock(), Throttle()
    queue = ThrottleQueue(throttle, clock)
    pause(throttle, clock.now(), 3)
    first, second = asyncio.ensure_future(queue.enter()), asyncio.ensure_future(queue.enter())
    await asyncio.sleep(0)
    first.cancel()

    assert await second == 1
    assert clock.now() - 1_000 == pytest.approx(3.0)


async def test_a_pause_that_is_prolonged_keeps_those_who_wait() -> None:
    clock, throttle = FakeClock(), Throttle()
    queue = ThrottleQueue(throttle, clock)
    pause(throttle, clock.now(), 3)
    waiter = asyncio.ensure_future(queue.enter())
    await asyncio.sleep(0)
    pause(throttle, clock.now(), 10)

    assert await waiter == throttle.epoch
    assert clock.now() - 1_000 == pytest.approx(10.0)
