"""An iterator over a source that makes several items at once: one by one, or all that are there already."""

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import TypeVar

from lume_async._base.batched import Batched

T = TypeVar("T")


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
