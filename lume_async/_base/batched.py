"""`Batched`: an asynchronous iterator that can also hand over several items at once; `Chunked`: one of chunks."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Generic, TypeVar

from lume_async._base.tasks import is_being_cancelled

T = TypeVar("T")


class Batched(AsyncIterator[T]):
    """An iterator that knows which items are there without waiting.

    Not part of the public API: `async for` is enough where a step costs nothing. In lume_sync each step is a hop
    between threads, and what is ready shares one.
    """

    @abstractmethod
    def _take_ready(self, limit: int) -> list[T]:
        """Up to `limit` items that are there now; none means nothing but that the next one has to be awaited."""


class Steps(Generic[T]):
    """The steps of an asynchronous generator. One that is cancelled ends it; the next one says that, and not that all
    items were there.
    """

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._items = items
        self._cut_off = False

    async def next(self) -> T:
        """The next item.

        Raises:
            StopAsyncIteration: there is none.
            RuntimeError: a step before this one was cancelled.
        """
        if self._cut_off:
            raise RuntimeError(
                "a step of this iteration was cancelled, which ended it before all items were there: begin a new one "
                "(run_many with its journal goes on where it was)"
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
    """The items of the chunks, in their order; the next chunk is made when all before it were taken.

    Args:
        chunks: the items.
        what: they are, for people.
    """

    def __init__(self, chunks: AsyncGenerator[Iterable[T], None], what: str = "items") -> None:
        self.what = what
        self._chunks = Steps(chunks)
        self._ready: deque[T] = deque()

    async def __anext__(self) -> T:
        while not self._ready:
            self._ready.extend(await self._chunks.next())
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


def several(runs: Iterable[T]) -> list[T]:
    """All of them.

    Raises:
        TypeError: it is a single text, which would be taken for its letters.
    """
    if isinstance(runs, str):
        raise TypeError("give a list of runs, or of run IDs, not a single one")
    return list(runs)


def take_ready(source: AsyncIterator[T], limit: int) -> list[T]:
    """Up to `limit` items of the source that are there without waiting; none where it can't tell."""
    return source._take_ready(limit) if isinstance(source, Batched) else []
