"""`Batched`: an asynchronous iterator that can also hand over several items at once; `Chunked`: one of chunks."""

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")


class Batched(AsyncIterator[T]):
    """An iterator that knows which items are there without waiting.

    Not part of the public API: `async for` is enough where a step costs nothing. In lume_sync each step is a hop
    between threads, and what is ready shares one.
    """

    @abstractmethod
    def _take_ready(self, limit: int) -> list[T]:
        """Up to `limit` items that are there now; none means nothing but that the next one has to be awaited."""


class Chunked(Batched[T]):
    """The items of the chunks, in their order; the next chunk is made when all before it were taken.

    Args:
        chunks: the items.
        what: they are, for people.
    """

    def __init__(self, chunks: AsyncGenerator[Iterable[T], None], what: str = "items") -> None:
        self.what = what
        self._chunks = chunks
        self._ready: deque[T] = deque()

    async def __anext__(self) -> T:
        while not self._ready:
            self._ready.extend(await anext(self._chunks))
        return self._ready.popleft()

    def __repr__(self) -> str:
        """What it is, and how to get at the items."""
        return f"<{self.what}, fetched as needed: [item async for item in ...]>"

    def _take_ready(self, limit: int) -> list[T]:
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def aclose(self) -> None:
        """End the source; the rest of the items is dropped."""
        self._ready.clear()
        await self._chunks.aclose()


def take_ready(source: AsyncIterator[T], limit: int) -> list[T]:
    """Up to `limit` items of the source that are there without waiting; none where it can't tell."""
    return source._take_ready(limit) if isinstance(source, Batched) else []
