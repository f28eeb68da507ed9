import asyncio

import pytest

from lume_local._runs import waiters
from lume_local._runs.waiters import Hub


async def wait(hub: Hub, key: str, seconds: float = 60) -> bool:
    with hub.waiter(key) as waiter:
        return await waiter.until(asyncio.get_running_loop().time() + seconds)


async def ended(*tasks: "asyncio.Task[bool]") -> list[bool]:
    """Which tasks have ended, once all that could go on has gone on."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_a_change_wakes_those_that_wait_for_its_run() -> None:
    hub = Hub()
    tasks = [asyncio.create_task(wait(hub, key)) for key in ("a", "a", "b")]
    assert await ended(*tasks) == [False] * 3
    hub.notify("a")
    assert await ended(*tasks) == [True, True, False]
    hub.close()
    assert await ended(*tasks) == [True] * 3


async def test_waiting_ends_in_time() -> None:
    assert not await asyncio.wait_for(wait(Hub(), "a", 0.01), 5)


async def test_a_change_that_comes_before_the_wait_is_noticed_once() -> None:
    hub = Hub()
    with hub.waiter("a") as waiter:
        hub.notify("a")
        hub.notify("a")
        assert await asyncio.wait_for(waiter.until(asyncio.get_running_loop().time() + 60), 5)
        assert not await waiter.until(0)


async def test_waiters_are_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "MOST_WAITERS", 2)
    hub = Hub()
    tasks = [asyncio.create_task(wait(hub, "a")) for _ in range(2)]
    await ended()
    assert not hub.is_open
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert hub.is_open
    assert not hub._waiters


async def test_a_closed_hub_lets_nobody_wait() -> None:
    hub = Hub()
    hub.close()
    assert not hub.is_open
    assert not await asyncio.wait_for(wait(hub, "a"), 5)


async def test_a_change_of_one_run_costs_nothing_for_the_waiters_of_others() -> None:
    hub = Hub()
    tasks = [asyncio.create_task(wait(hub, f"run{n}")) for n in range(5000)]
    await ended()
    for _ in range(1000):
        hub.notify("other")
    hub.notify("run17")
    assert sum(await ended(*tasks)) == 1
    hub.close()
    await asyncio.gather(*tasks)
