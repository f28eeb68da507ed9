"""`Items`: ended by its block, in whatever way. `Chunked`: items in order, never more than one chunk ahead.
`pull`: any iterable, which is always closed.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from fake_service import Service

from lume_async import RunRequest
from lume_async._base.batched import Chunked, Items, Steps, pull
from lume_async.testing import fake_client


class Source:
    def __init__(self, *chunks: list[int]) -> None:
        self.made = 0
        self.closed = False
        self.items = Chunked(self._generate(chunks))

    async def _generate(self, chunks: tuple[list[int], ...]) -> AsyncGenerator[list[int], None]:
        try:
            for chunk in chunks:
                self.made += 1
                yield chunk
        finally:
            self.closed = True


async def test_items_come_in_order_over_empty_chunks() -> None:
    source = Source([], [1, 2], [], [3], [])
    assert [item async for item in source.items] == [1, 2, 3]
    assert source.closed
    with pytest.raises(StopAsyncIteration):
        await anext(source.items)


async def test_a_chunk_is_made_when_it_is_needed() -> None:
    source = Source([1, 2], [3])
    assert source.made == 0
    assert [await anext(source.items), await anext(source.items)] == [1, 2]
    assert source.made == 1


async def test_what_is_ready_can_be_taken_together() -> None:
    source = Source([1, 2, 3, 4], [5])
    assert source.items._take_ready(10) == []
    assert await anext(source.items) == 1
    assert source.items._take_ready(2) == [2, 3]
    assert source.items._take_ready(10) == [4]
    assert source.made == 1
    assert await anext(source.items) == 5


async def test_closing_drops_the_rest_and_ends_the_source() -> None:
    source = Source([1, 2], [3])
    await anext(source.items)
    await source.items.aclose()
    assert source.closed
    assert [item async for item in source.items] == []


async def test_plain_and_asynchronous_iterables() -> None:
    async def source() -> AsyncIterator[int]:
        for n in range(3):
            yield n

    assert [n async for n in pull(range(3))] == [0, 1, 2]
    assert [n async for n in pull(source())] == [0, 1, 2]


async def test_leaving_early_closes_an_asynchronous_generator() -> None:
    closed = False

    async def source() -> AsyncIterator[int]:
        nonlocal closed
        try:
            while True:
                yield 1
        finally:
            closed = True

    kept = source()  # else the collector closes it
    items = pull(kept)
    assert await anext(items) == 1
    await items.aclose()
    assert closed


async def test_leaving_run_many_early_closes_the_generator_of_its_requests() -> None:
    closed = False

    async def source() -> AsyncIterator[RunRequest]:
        nonlocal closed
        try:
            while True:
                yield RunRequest("f:v1", "s", force_rerun=True)
        finally:
            closed = True

    service, requests = Service(), source()
    client, _ = fake_client(service, clock=service.clock)
    outcomes = client.run_many(requests, max_active=2)
    await anext(outcomes)
    await outcomes.aclose()
    assert closed


async def test_an_iterator_that_cannot_be_closed_is_left_as_it_is() -> None:
    class Numbers(AsyncIterator[int]):
        async def __anext__(self) -> int:
            return 1

    numbers = Numbers()
    items = pull(numbers)
    assert await anext(items) == 1
    await items.aclose()
    assert await anext(numbers) == 1


class Slow:
    """Yields one item, and waits for the next one until it is released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waits = asyncio.Event()
        self.closed = 0
        self.items: Items[int] = Chunked(self._generate())

    async def _generate(self) -> AsyncGenerator[list[int], None]:
        try:
            yield [1]
            self.waits.set()
            await self.release.wait()
            yield [2]
        finally:
            await asyncio.sleep(0)
            self.closed += 1


async def rest(items: Items[int]) -> list[int]:
    return [item async for item in items]


async def test_a_block_ends_the_work() -> None:
    slow = Slow()
    with pytest.raises(KeyError):
        async with slow.items as items:
            assert items is slow.items
            async for item in items:
                raise KeyError(item)
    assert slow.closed == 1
    assert await rest(slow.items) == []
    async with Slow().items:
        pass  # it was not begun


async def test_closing_ends_a_step_of_another_task() -> None:
    slow = Slow()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(rest(slow.items))
        await slow.waits.wait()
        async with asyncio.TaskGroup() as closers:  # twice at the same time
            closers.create_task(slow.items.aclose())
            closers.create_task(slow.items.aclose())
        assert slow.closed == 1
        assert reading.done()
    assert reading.result() == [1]
    assert reading.cancelling() == 0


async def test_a_reader_that_is_cancelled_while_another_task_closes_is_cancelled() -> None:
    slow = Slow()
    reading = asyncio.ensure_future(rest(slow.items))
    await slow.waits.wait()
    closing = asyncio.ensure_future(slow.items.aclose())
    await asyncio.sleep(0)
    reading.cancel()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert slow.closed == 1


async def test_a_step_that_ends_in_spite_of_closing_is_the_last() -> None:
    async def step() -> int:
        waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        raise AssertionError

    waits, steps = asyncio.Event(), Steps(step)
    reading = asyncio.ensure_future(steps.next())
    await waits.wait()
    await steps.aclose()
    assert await reading == 7
    assert reading.cancelling() == 0
    with pytest.raises(StopAsyncIteration):
        await steps.next()


async def test_tasks_may_share_an_iterator() -> None:
    source = Source(*([number] for number in range(100)))
    parts = await asyncio.gather(*(rest(source.items) for _ in range(5)))
    assert sorted(number for part in parts for number in part) == list(range(100))


async def test_tasks_that_wait_for_one_chunk_share_it() -> None:
    """None of them is told that the iteration has ended while it has items."""

    async def chunks() -> AsyncGenerator[list[int], None]:
        await asyncio.sleep(0)
        yield [1, 2, 3, 4, 5]

    items = Chunked(chunks())
    assert sorted(await asyncio.gather(*(anext(items) for _ in range(5)))) == [1, 2, 3, 4, 5]
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_tasks_that_wait_for_outcomes_share_them() -> None:
    service = Service(lasts=0.0)
    client, _ = fake_client(service, clock=service.clock)
    outcomes = client.run_many([RunRequest("f:v1", f"source-{n}") for n in range(5)], max_active=5)
    found = await asyncio.gather(*(anext(outcomes) for _ in range(5)))
    assert {one.result().source_path for one in found} == {f"source-{n}" for n in range(5)}


async def test_a_plain_loop_says_what_to_write() -> None:
    items: Any = Slow().items
    for use in (iter, list, set):
        with pytest.raises(TypeError, match="use `async for`"):
            use(items)
