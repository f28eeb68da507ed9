"""One piece of work at a time, in turns of keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from lume_local._runs.turns import NoTurn, TooManyWaiting, Turns


class Site:
    """Works in turns: each piece begins when its turn comes, and ends when the test says so."""

    def __init__(self, turns: Turns, tasks: TaskGroup) -> None:
        self.turns, self._tasks = turns, tasks
        self.begun: list[str] = []
        self.refused: list[str] = []
        self._ends: dict[str, anyio.Event] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}

    async def add(self, *names: str) -> None:
        """Ask for a turn for each; the key is its first letter."""
        for name in names:
            self._ends[name] = anyio.Event()
            self._tasks.start_soon(self._work, name)
            await settle()

    async def _work(self, name: str) -> None:
        with anyio.CancelScope() as self._scopes[name]:
            try:
                async with self.turns.turn(name[0]):
                    self.begun.append(name)
                    await self._ends[name].wait()
            except (TooManyWaiting, NoTurn) as error:
                self.refused.append(f"{name} {type(error).__name__}")

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await settle()

    async def cancel(self, name: str) -> None:
        self._scopes[name].cancel()
        await settle()

    async def end_all(self) -> list[str]:
        """End each as it begins; the order in which they did."""
        ended = 0
        while ended < len(self.begun):
            await self.end(self.begun[ended])
            ended += 1
        return self.begun


async def settle() -> None:
    for _ in range(10):
        await checkpoint()


@asynccontextmanager
async def site(turns: Turns) -> AsyncIterator[Site]:
    async with anyio.create_task_group() as tasks:
        yield Site(turns, tasks)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ("a1", "a1"),
        ("a1 a2 a3", "a1 a2 a3"),
        ("a1 a2 a3 b1", "a1 b1 a2 a3"),
        ("a1 a2 a3 b1 b2 c1", "a1 b1 c1 a2 b2 a3"),
        ("a1 b1 b2 b3 a2", "a1 b1 a2 b2 b3"),
    ],
)
async def test_each_key_gets_its_turn(asked: str, order: str) -> None:
    async with site(Turns()) as work:
        await work.add(*asked.split())
        assert await work.end_all() == order.split()


async def test_a_key_that_asks_again_each_time_is_not_first_each_time() -> None:
    async with site(Turns()) as work:
        await work.add("a1", "a2", "a3", "b1", "c1")
        await work.end("a1")
        await work.add("b2")  # while b1 is done
        await work.end("b1", "c1", "a2", "b2")
        assert work.begun == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_no_more_of_one_key_than_may_be() -> None:
    async with site(Turns(most=2)) as work:
        await work.add("a1", "a2", "a3", "b1", "b2", "b3")
        assert work.refused == ["a3 TooManyWaiting", "b3 TooManyWaiting"]
        await work.end("a1")
        await work.add("a4")  # there is room again
        assert await work.end_all() == ["a1", "b1", "a2", "b2", "a4"]


@pytest.mark.parametrize(("cancelled", "order"), [("a2", "a1 b1"), ("b1", "a1 a2"), ("a1", "a1 b1 a2")])
async def test_what_is_cancelled_takes_no_turn(cancelled: str, order: str) -> None:
    async with site(Turns(most=2)) as work:
        await work.add("a1", "a2", "b1")
        await work.cancel(cancelled)
        assert await work.end_all() == order.split()
        await work.add("c1", "a3", "a4")
        assert (await work.end_all())[-3:] == ["c1", "a3", "a4"], "nothing holds a turn"


async def test_a_turn_that_comes_in_the_moment_of_a_cancel_is_passed_on() -> None:
    turns = Turns()
    async with site(turns) as work:
        async with turns.turn("x"):
            await work.add("a1", "b1")
        await work.cancel("a1")  # no step of a1 was made since
        await work.add("c1")
        await work.end("b1")
        assert work.begun[-2:] == ["b1", "c1"]


async def test_a_turn_that_does_not_come_in_time() -> None:
    async with site(Turns(patience=0.0)) as work:
        await work.add("a1", "b1")
        assert (work.begun, work.refused) == (["a1"], ["b1 NoTurn"])
        await work.end("a1")
        await work.add("b2")
        assert work.begun == ["a1", "b2"]
