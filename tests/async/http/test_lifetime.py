"""A client's clock: nobody sleeps on it longer than the client is open."""

import asyncio
from collections.abc import Callable

import pytest

from lume_async import ClientClosedError
from lume_async._base.clock import SystemClock
from lume_async._http.lifetime import Lifetime
from lume_async.testing import FakeClock


async def in_another_thread(function: Callable[[], object]) -> None:
    await asyncio.to_thread(function)


async def here(function: Callable[[], object]) -> None:
    function()


async def test_the_time_is_that_of_the_clock() -> None:
    clock = FakeClock(5.0)
    lifetime = Lifetime(clock)
    await lifetime.sleep(60.0)
    assert lifetime.now() == clock.now() == 65.0
    assert lifetime.wall() == clock.wall()


@pytest.mark.parametrize("end", [here, in_another_thread])
async def test_its_end_wakes_all_who_sleep(end: Callable[[Callable[[], object]], object]) -> None:
    lifetime = Lifetime(SystemClock())
    sleepers = [asyncio.ensure_future(lifetime.sleep(3_600)) for _ in range(3)]
    await asyncio.sleep(0)
    await end(lifetime.end)  # type: ignore[misc]
    errors = await asyncio.gather(*sleepers, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientClosedError] * 3


async def test_after_its_end_nobody_sleeps() -> None:
    lifetime = Lifetime(SystemClock())
    lifetime.end()
    with pytest.raises(ClientClosedError):
        await lifetime.sleep(3_600)
    with pytest.raises(ClientClosedError):
        lifetime.listen(pytest.fail)


async def test_a_sleeper_that_was_cancelled_is_cancelled() -> None:
    lifetime = Lifetime(SystemClock())
    sleeper = asyncio.ensure_future(lifetime.sleep(3_600))
    await asyncio.sleep(0)
    sleeper.cancel()
    lifetime.end()
    await asyncio.wait([sleeper])
    assert sleeper.cancelled()


async def test_a_deadline_around_a_sleep_is_its_own() -> None:
    lifetime = Lifetime(SystemClock())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await lifetime.sleep(3_600)
    assert not lifetime.over


async def test_who_is_forgotten_is_not_told_not_even_at_the_last_moment() -> None:
    lifetime, told = Lifetime(SystemClock()), list[str]()
    functions = [lambda: told.append("a"), lambda: told.append("b"), lambda: told.append("c")]
    for function in functions:
        lifetime.listen(function)
    lifetime.forget(functions[0])
    lifetime.end()
    lifetime.forget(functions[1])  # its call is on the way already
    await asyncio.sleep(0)
    assert told == ["c"]


def test_a_loop_that_was_closed_is_left_alone_and_forgotten() -> None:
    lifetime = Lifetime(SystemClock())

    async def tell() -> None:
        loop = asyncio.get_running_loop()
        lifetime.listen(lambda: pytest.fail(f"told in {loop}"))  # keeps its loop, as sleepers do

    for _ in range(3):
        asyncio.run(tell())
    assert len(lifetime._listeners.items()) == 1
    lifetime.end()
