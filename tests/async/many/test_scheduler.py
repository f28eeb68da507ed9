"""One heap, bounded looks: every key is looked at when it is due, and never by two at once."""

import asyncio
import math
import random
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._base.tasks import task_group
from lume_async._many.scheduler import SPARE, Scheduler
from lume_async.testing import FakeClock


class World:
    """Keys that each want so many looks; notes when each was looked at and how many were under way."""

    def __init__(
        self, looks_wanted: dict[str, int], *, limit: int = 4, delay: float = 1.0, took: float = 0.0
    ) -> None:
        self.clock = FakeClock(0.0)
        self.wanted = dict(looks_wanted)
        self.delay = delay
        self.took = took
        self.looks: list[tuple[float, str]] = []
        self.under_way: set[str] = set()
        self.most = 0
        self.done = asyncio.Event()
        self.scheduler = Scheduler(self.look, limit=limit, clock=self.clock)

    async def look(self, key: str) -> float | None:
        assert key not in self.under_way, "two looks at one key"
        self.under_way.add(key)
        self.most = max(self.most, len(self.under_way))
        self.looks.append((round(self.clock.now(), 3), key))
        try:
            if self.took:
                await self.clock.sleep(self.took)
            else:
                await asyncio.sleep(0)
        finally:
            self.under_way.discard(key)
        self.wanted[key] -= 1
        if not any(self.wanted.values()):
            self.done.set()
        return None if self.wanted[key] <= 0 else self.delay


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """The world with its scheduler at work; what ends that too early fails the test."""
    async with task_group() as group:
        group.start_soon(world.scheduler.run)
        yield world
        group.cancel_scope.cancel()


async def test_each_key_is_looked_at_at_its_own_times() -> None:
    async with running(World({"a": 3, "b": 2})) as world:
        world.scheduler.add("a", 0.0)
        world.scheduler.add("b", 0.5)
        await world.done.wait()
        assert world.looks == [(0.0, "a"), (0.5, "b"), (1.0, "a"), (1.5, "b"), (2.0, "a")]
        assert len(world.scheduler) == 0


async def test_looks_under_way_are_bounded_and_due_keys_come_in_the_order_in_which_they_are_due() -> None:
    keys = {f"k{n:02}": 1 for n in range(40)}
    async with running(World(keys, limit=3, took=1.0)) as world:
        for n, key in enumerate(keys):
            world.scheduler.add(key, n / 1000)
        await world.done.wait()
        assert world.most == 3
        assert [key for _at, key in world.looks] == list(keys)


async def test_a_key_that_is_added_anew_during_its_look_is_looked_at_after_it() -> None:
    async with running(World({"a": 2}, took=10.0)) as world:
        world.scheduler.add("a", 0.0)
        await world.clock.sleep(1.0)
        world.scheduler.discard("a")
        world.scheduler.add("a", 0.0)
        await world.done.wait()
        assert world.looks == [(0.0, "a"), (10.0, "a")]


async def test_a_key_that_is_asked_for_during_its_last_look_is_looked_at_once_more() -> None:
    async with running(World({"a": 1}, took=10.0)) as world:
        world.scheduler.add("a", 0.0)
        await world.clock.sleep(1.0)
        world.scheduler.wake("a")
        await world.clock.sleep(20.0)
        assert [at for at, _key in world.looks] == [0.0, 10.0]


async def test_wake_looks_now_and_once_more_where_a_look_is_under_way() -> None:
    async with running(World({"a": 3}, delay=1000.0, took=10.0)) as world:
        world.scheduler.add("a", 500.0)
        world.scheduler.wake("a")
        world.scheduler.wake("nobody")
        await world.clock.sleep(5.0)  # in the middle of the first look
        world.scheduler.wake("a")
        await world.clock.sleep(20.0)
        assert [at for at, _key in world.looks] == [0.0, 10.0]


async def test_an_added_key_keeps_its_earlier_time() -> None:
    async with running(World({"a": 1})) as world:
        world.scheduler.add("a", 5.0)
        world.scheduler.add("a", 1.0)
        world.scheduler.add("a", 9.0)
        await world.done.wait()
        assert world.looks == [(1.0, "a")]


async def test_delay_all_gives_new_times_to_sleepers_and_one_more_look_to_the_rest() -> None:
    async with running(World({"asleep": 1, "busy": 2}, took=10.0, delay=1000.0)) as world:
        world.scheduler.add("asleep", 300.0)
        world.scheduler.add("busy", 0.0)
        await world.clock.sleep(1.0)
        world.scheduler.delay_all(lambda: 2.0)
        await world.done.wait()
        assert world.looks == [(0.0, "busy"), (3.0, "asleep"), (10.0, "busy")]


async def test_an_infinite_delay_waits_to_be_woken() -> None:
    async with running(World({"a": 2, "b": 1}, delay=math.inf)) as world:
        world.scheduler.add("a", 0.0)
        world.scheduler.add("b", math.inf)
        await world.clock.sleep(1.0)
        assert world.looks == [(0.0, "a")]
        world.scheduler.wake("a")
        world.scheduler.wake("b")
        await asyncio.wait_for(world.done.wait(), 5.0)


@pytest.mark.parametrize("keys", [1, 100])
async def test_times_that_were_replaced_do_not_pile_up(keys: int) -> None:
    async with running(World({f"k{n}": 10**9 for n in range(keys)}, delay=86_400.0)) as world:
        for key in world.wanted:
            world.scheduler.add(key, 0.0)
        for _ in range(300):
            await world.clock.sleep(1.0)
            for key in world.wanted:
                world.scheduler.wake(key)
        await world.clock.sleep(1.0)
        assert len(world.looks) == 301 * keys
        assert sum(map(len, world.scheduler._slots.values())) <= 2 * keys + SPARE + 1
        assert len(world.scheduler._heap) == len(world.scheduler._slots)
        await world.clock.sleep(86_400.0)
        assert len(world.looks) == 302 * keys


async def test_the_last_round_looks_at_everything_once_more_and_then_never_again() -> None:
    async with running(World({"a": 9, "b": 9}, delay=100.0)) as world:
        world.scheduler.add("a", 0.0)
        world.scheduler.add("b", 50.0)
        await world.clock.sleep(1.0)
        await world.scheduler.last_round(5.0)
        assert sorted(key for _at, key in world.looks) == ["a", "a", "b"]
        assert len(world.scheduler) == 0


async def test_a_last_round_with_nothing_to_do_returns_at_once() -> None:
    async with running(World({})) as world:
        await world.scheduler.last_round(5.0)


@pytest.mark.parametrize(
    "raised", [RuntimeError("boom"), asyncio.CancelledError()], ids=["error", "cancelled"]
)
async def test_what_a_poll_raises_ends_the_schedule(raised: BaseException) -> None:
    async def poll(_key: str) -> float | None:
        raise raised

    scheduler = Scheduler(poll, limit=1, clock=FakeClock(0.0))
    scheduler.add("a", 0.0)
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(scheduler.run(), 5.0)


@pytest.mark.thorough
async def test_what_a_sleeping_key_takes_is_bounded() -> None:
    """A key that was polled and sleeps has a dict item, and for a time of its own a list and two numbers."""
    count = 2_600  # fills the dicts well
    keys = [f"run_{n:026}" for n in range(count)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    async with running(World(dict.fromkeys(keys, 2), limit=64, delay=1e6)) as world:
        for n, key in enumerate(keys):
            world.scheduler.add(key, n / 50)
        while len(world.looks) < count:
            await asyncio.sleep(0)
        for n, key in enumerate(keys):
            world.scheduler.add(key, 1e3 + n / 50)
        world.looks.clear()
        taken = (tracemalloc.get_traced_memory()[0] - before) / count
    tracemalloc.stop()
    assert taken < 550


async def test_a_cancelled_poll_of_a_discarded_key_ends_it_too() -> None:
    async def poll(key: str) -> float | None:
        scheduler.discard(key)
        raise asyncio.CancelledError

    scheduler = Scheduler(poll, limit=1, clock=FakeClock(0.0))
    scheduler.add("a", 0.0)
    with pytest.raises(RuntimeError, match="cancelled"):
        await asyncio.wait_for(scheduler.run(), 5.0)


async def test_an_error_cancels_the_polls_in_flight() -> None:
    ended = []

    async def poll(key: str) -> float | None:
        if key == "b":
            raise OSError(key)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(key)
        return None

    scheduler = Scheduler(poll, limit=2, clock=FakeClock(0.0))
    scheduler.add("a", 0.0)
    scheduler.add("b", 1.0)
    with pytest.raises(OSError, match="b"):
        await asyncio.wait_for(scheduler.run(), 5.0)
    assert ended == ["a"]


async def test_closing_cancels_looks_under_way_and_waits_for_them() -> None:
    async with running(World({"a": 1}, took=1e9)) as world:
        world.scheduler.add("a", 0.0)
        await world.clock.sleep(1.0)
        assert world.under_way == {"a"}
    assert world.under_way == set()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@given(
    seed=st.integers(0, 2**32),
    limit=st.integers(1, 8),
    steps=st.lists(st.sampled_from(["add", "wake", "discard", "sleep"]), max_size=60),
)
def test_whatever_is_asked_no_key_is_lost_and_none_is_looked_at_twice_at_once(
    seed: int, limit: int, steps: list[str]
) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        keys = [f"k{n}" for n in range(6)]
        async with running(World(dict.fromkeys(keys, 10**9), limit=limit, delay=3.0, took=0.7)) as world:
            present: set[str] = set()
            for step in steps:
                key = rng.choice(keys)
                if step == "add":
                    world.scheduler.add(key, rng.random() * 5)
                    present.add(key)
                elif step == "discard":
                    world.scheduler.discard(key)
                    present.discard(key)
                elif step == "wake":
                    world.scheduler.wake(key)
                else:
                    await world.clock.sleep(rng.random())
            before = len(world.looks)
            await world.clock.sleep(20.0)
            assert {key for _at, key in world.looks[before:]} == present
            assert world.most <= limit

    asyncio.run(main())


@pytest.mark.parametrize("runs", [1, 100, 5_000])
async def test_a_sleeping_key_costs_no_task(runs: int) -> None:
    async with running(World({})) as world:
        for n in range(runs):
            world.scheduler.add(f"k{n}", 100.0)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert len(others) == 1  # the one timer
