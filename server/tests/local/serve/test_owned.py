"""A block that lives in a task of its own: entered here, left there, and never lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from lume_async._base.tasks import task_group
from lume_local._serve.serve import owned


@asynccontextmanager
async def block(breaks: asyncio.Event, left: list[str]) -> AsyncIterator[str]:
    """A block with a task that may break."""

    async def work() -> None:
        await breaks.wait()
        raise ZeroDivisionError("the lane is gone")

    try:
        async with task_group() as tasks:
            tasks.start_soon(work)
            yield "value"
            tasks.cancel_scope.cancel()
    finally:
        left.append("left")


async def test_entered_in_one_task_and_left_in_another() -> None:
    left: list[str] = []
    owner = owned(block(asyncio.Event(), left), "test")
    assert await asyncio.create_task(owner.__aenter__()) == "value"
    assert not left
    await asyncio.create_task(owner.__aexit__(None, None, None))  # type: ignore[func-returns-value,arg-type]
    assert left == ["left"]


async def test_an_error_in_it_ends_what_relies_on_it() -> None:
    breaks, left = asyncio.Event(), list[str]()
    with pytest.raises(ZeroDivisionError, match="the lane is gone"):
        async with owned(block(breaks, left), "test"):
            breaks.set()
            await asyncio.Event().wait()
    assert left == ["left"]
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_an_error_is_not_lost_where_nobody_waits() -> None:
    breaks, left = asyncio.Event(), list[str]()
    owner = owned(block(breaks, left), "test")
    await asyncio.create_task(owner.__aenter__())
    breaks.set()
    while not left:
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await owner.__aexit__(None, None, None)


async def test_whoever_is_cancelled_leaves_it() -> None:
    left: list[str] = []
    with anyio.CancelScope() as scope:
        async with owned(block(asyncio.Event(), left), "test"):
            scope.cancel()
            await asyncio.Event().wait()
    assert scope.cancelled_caught
    assert left == ["left"]


async def test_one_that_can_not_start() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        async with task_group():
            raise ZeroDivisionError("no")
            yield

    with pytest.raises(ZeroDivisionError, match="no"):
        async with owned(broken(), "test"):
            raise AssertionError("it must not start")


async def test_one_that_is_cancelled_while_it_starts() -> None:
    left: list[str] = []

    with anyio.CancelScope() as scope:

        @asynccontextmanager
        async def slow() -> AsyncIterator[None]:
            try:
                scope.cancel()
                await asyncio.Event().wait()
                yield
            finally:
                left.append("left")

        async with owned(slow(), "test"):
            raise AssertionError("it must not start")
    assert left == ["left"]


async def test_an_error_in_the_body_comes_through_alone() -> None:
    left: list[str] = []
    with pytest.raises(KeyError):
        async with owned(block(asyncio.Event(), left), "test"):
            raise KeyError("body")
    assert left == ["left"]


async def test_an_owner_that_somebody_else_cancels_does_not_end_unseen() -> None:
    left: list[str] = []
    with pytest.raises(asyncio.CancelledError):
        async with owned(block(asyncio.Event(), left), "test"):
            (owner,) = (task for task in asyncio.all_tasks() if task.get_name() == "test")
            owner.cancel()
            await asyncio.Event().wait()
    assert left == ["left"]
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
