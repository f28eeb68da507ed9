"""Iterables of the two kinds that this library meets: read alike (`pull`), or made in chunks (`Chunked`)."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TypeVar

from lume_async._base.batched import Batched

T = TypeVar("T")


async def pull(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """The items, one by one; a plain iterable is stepped on the event loop and must not block.

    An asynchronous generator is closed at the end, an early one too: else only garbage collection would do it.
    """
    if isinstance(items, AsyncIterable):
        try:
            async for item in items:
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
    else:
        for item in items:
            yield item


class Chunked(Batched[T]):
    """The items of the chunks, in their order; the next chunk is made when all before it were taken."""

    def __init__(self, chunks: AsyncGenerator[Iterable[T], None]) -> None:
        self._chunks = chunks
        self._ready: deque[T] = deque()

    async def __anext__(self) -> T:
        while not self._ready:
            self._ready.extend(await anext(self._chunks))
        return self._ready.popleft()

    def _take_ready(self, limit: int) -> list[T]:
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def aclose(self) -> None:
        """End the source; the rest of the items is dropped."""
        self._ready.clear()
        await self._chunks.aclose()
