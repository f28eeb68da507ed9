"""Chunked: the chunks' items in order, never more than one chunk ahead, closed with its source."""

from collections.abc import AsyncGenerator

import pytest

from lume_async._base.batched import Chunked


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
