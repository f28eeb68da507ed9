"""Asynchronous iterators: `Batched` can return several items at once, `Chunked` has the items of chunks."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Generic, TypeVar

from lume_async._base import arguments
from lume_async._base.tasks import is_being_cancelled

T = TypeVar("T")


class Batched(AsyncIterator[T]):
    """An iterator that can return its ready items without waiting.

    Not part of the public API. In lume_sync a step is a hop between threads, which all ready items share.
    """

    @abstractmethod
    def _take_ready(self, limit: int) -> list[T]:
        """Up to `limit` items that are ready; an empty list does not mean that the iteration has ended."""


class Steps(Generic[T]):
    """The steps of an asynchronous generator. A cancelled step ends it, and the next one raises."""

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items
        self._cut_off = False

    async def next(self) -> T:
        """The next item. Raises `StopAsyncIteration` after the last, `RuntimeError` after a cancelled step."""
        if self._cut_off:
            raise RuntimeError(
                "the iteration was cancelled before it finished; start a new one (run_many resumes with its journal)"
            )
        try:
            return await anext(self._items)
        except asyncio.CancelledError:
            self._cut_off = is_being_cancelled()
            raise

    async def aclose(self) -> None:
        """End the generator."""
        self._cut_off = False
        await self._items.aclose()


class Chunked(Batched[T]):
    """The items of the chunks, in order; the next chunk is fetched when all items before it were taken."""

    def __init__(self, chunks: AsyncGenerator[Iterable[T], None], what: str = "items") -> None:
        self.what = what
        self._chunks = Steps(chunks)
        self._ready: deque[T] = deque()

    async def __anext__(self) -> T:
        while not self._ready:
            self._ready.extend(await self._chunks.next())
        return self._ready.popleft()

    def __repr__(self) -> str:
        """The kind of items, and how to get them."""
        return f"<{self.what}, fetched as needed: [item async for item in ...]>"

    def _take_ready(self, limit: int) -> list[T]:
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def aclose(self) -> None:
        """Close the source and drop the remaining items."""
        self._ready.clear()
        await self._chunks.aclose()


def all_runs(runs: Iterable[T]) -> list[T]:
    """The argument `runs` as a list. Raises `TypeError`."""
    return list(arguments.several(runs, "runs", "runs or run IDs"))


def take_ready(source: AsyncIterator[T], limit: int) -> list[T]:
    """Up to `limit` items that are ready; an empty list if the source is not `Batched`."""
    return source._take_ready(limit) if isinstance(source, Batched) else []


async def pull(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items; a plain iterable is stepped on the event loop and must not block.

    An asynchronous generator is always closed at the end, not left to garbage collection.
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
