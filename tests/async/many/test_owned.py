"""`owned`: the reader hears of whatever ends the work, but for its own leaving."""

import asyncio

import pytest
from anyio.streams.memory import MemoryObjectSendStream
from fake_service import other_tasks

from lume_async._many.owned import owned


def same(item: int) -> int:
    return item


@pytest.mark.parametrize(
    "kind", [OSError, asyncio.CancelledError, SystemExit, KeyboardInterrupt, BaseException]
)
async def test_what_ends_the_work_comes_after_the_items(kind: type[BaseException]) -> None:
    async def work(send: MemoryObjectSendStream[int]) -> None:
        await send.send(1)
        raise kind("gone")

    seen = []
    with pytest.raises(kind, match="gone"):
        async for item in owned(work, take=same):
            seen.append(item)
    assert seen == [1]
    assert not other_tasks()


async def test_a_task_that_somebody_else_cancels_is_no_end_of_the_items() -> None:
    async def work(send: MemoryObjectSendStream[int]) -> None:
        await send.send(1)
        (task,) = (task for task in asyncio.all_tasks() if task is not reader)
        task.cancel()
        await send.send(2)

    reader, seen = asyncio.current_task(), []
    with pytest.raises(asyncio.CancelledError):
        async for item in owned(work, take=same):
            seen.append(item)
    assert seen == [1]


async def test_who_leaves_hears_nothing_of_the_cancellation() -> None:
    async def work(send: MemoryObjectSendStream[int]) -> None:
        for number in range(9):
            await send.send(number)

    items = owned(work, take=same)
    assert await anext(items) == 0
    await items.aclose()
    assert not other_tasks()
