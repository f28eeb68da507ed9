"""`Chunked`: items in order, never more than one chunk ahead. `pull`: any iterable, which is always closed."""

from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from fake_service import Service

from lume_async import RunRequest
from lume_async._base.batched import Chunked, pull
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
    await outcomes.aclose()  # type: ignore[attr-defined]
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
