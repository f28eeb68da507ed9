"""Asynchronous iterators: the public `Items`, `Batched` for several items at once, `Chunked` for chunks."""

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from lume_async._base import arguments
from lume_async._base.public import public
from lume_async._base.tasks import current_task, is_being_cancelled

T = TypeVar("T")


class Batched(AsyncIterator[T]):
    """An iterator that can return its ready items without waiting.

    Not part of the public API. In lume_sync a step is a hop between threads, which all ready items share.
    """

    @abstractmethod
    def _take_ready(self, limit: int) -> list[T]:
        """Return up to `limit` items that are ready; an empty list does not mean that the iteration has ended."""
        ...


@public
class Items(Batched[T]):
    """An iterator that works while it is read, as `run_many`, `list_runs` and others return it.

    Nothing is sent before the first step. Use it as a context manager to end the work with the block, however it is
    left: then nothing is sent, and no task, thread, connection or journal is in use. Closing does the same. Leaving a
    loop early also ends the work, but only when the iterator is garbage-collected: a variable keeps it alive.

    Examples:
        >>> async with client.list_runs(flow="customer_cleaner") as found:
        ...     newest = await anext(found)
    """

    @abstractmethod
    async def __anext__(self) -> T:
        """Return the next item, when it is ready."""
        ...

    async def __aenter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End the work."""
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """End the work and wait for its end. A step that is under way ends its iteration, too. Idempotent.

        Examples:
            >>> found = client.list_runs()
            >>> newest = await anext(found)
            >>> await found.aclose()
        """

    def _take_ready(self, limit: int) -> list[T]:
        return []

    if not TYPE_CHECKING:  # a type checker knows that it is not iterable

        def __iter__(self) -> NoReturn:
            raise TypeError("this iterator is asynchronous: use `async for`, or [item async for item in ...]")


class Steps(Generic[T]):
    """The steps of an iteration, taken one at a time by any task; `aclose` also ends the one under way.

    Args:
        step: takes the next step.
        generator: the source of the steps. A cancelled step ends it, and the next one raises.
    """

    def __init__(
        self, step: Callable[[], Awaitable[T]], generator: AsyncGenerator[T, None] | None = None
    ) -> None:
        self._step = step
        self._generator = generator
        self._cut_off = False
        self._closed = False
        self._busy: asyncio.Task[Any] | None = None  # takes a step, or closes
        self._free: asyncio.Event | None = None

    async def next(self) -> T:
        """Return the next item. Raises `StopAsyncIteration` after the last, `RuntimeError` after a cancelled step."""
        if self._busy is not None:
            await self.until_free()
        if self._closed:
            raise StopAsyncIteration
        if self._cut_off:
            raise RuntimeError(
                "the iteration was cancelled before it finished; start a new one (run_many resumes with its journal)"
            )
        self._busy = reader = current_task()
        before = reader.cancelling()
        try:
            return await self._step()
        except asyncio.CancelledError:
            if not self._closed or reader.cancelling() > before + 1:
                self._cut_off = self._generator is not None and is_being_cancelled()
                raise
        finally:
            if self._closed:
                reader.uncancel()
            self._release()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if not self._closed and self._busy is not None:
            self._busy.cancel()  # a cancel scope around each step would cost more than most steps
        self._closed = True
        await self.until_free()
        self._busy = current_task()
        try:
            if self._generator is not None:
                await self._generator.aclose()
        finally:
            self._release()

    @property
    def is_busy(self) -> bool:
        """Whether a task takes a step, or closes."""
        return self._busy is not None

    async def until_free(self) -> None:
        """Wait until no task takes a step."""
        while self._busy is not None:
            self._free = self._free or asyncio.Event()
            await self._free.wait()

    def _release(self) -> None:
        self._busy = None
        if self._free is not None:
            self._free.set()
            self._free = None


class Chunked(Items[T]):
    """The items of the chunks, in order; a chunk is fetched when all items before it were taken."""

    def __init__(self, chunks: AsyncGenerator[Iterable[T], None], what: str = "items") -> None:
        self.what = what
        self._chunks = Steps(chunks.__anext__, chunks)
        self._ready: deque[T] = deque()

    async def __anext__(self) -> T:
        while not self._ready:
            if self._chunks.is_busy:  # another task fetches a chunk, which is for all
                await self._chunks.until_free()
            else:
                self._ready.extend(await self._chunks.next())
        return self._ready.popleft()

    def __repr__(self) -> str:
        """Return the kind of items, and how to get them."""
        return f"<{self.what}, fetched as needed: [item async for item in ...]>"

    def _take_ready(self, limit: int) -> list[T]:
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def aclose(self) -> None:
        self._ready.clear()
        await self._chunks.aclose()


def all_runs(runs: Iterable[T]) -> list[T]:
    """Return the argument `runs` as a list. Raises `TypeError`."""
    return list(arguments.several(runs, "runs", "runs or run IDs"))


def take_ready(source: AsyncIterator[T], limit: int) -> list[T]:
    """Return up to `limit` items that are ready; an empty list if the source is not `Batched`."""
    return source._take_ready(limit) if isinstance(source, Batched) else []


async def pull(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items; a plain iterable is stepped on the event loop and must not block.

    An asynchronous generator, or an iterator of this library, is always closed at the end, not left to garbage
    collection.
    """
    if isinstance(items, AsyncIterable):
        try:
            async for item in items:
                yield item
        finally:
            if isinstance(items, AsyncGenerator | Items):
                await items.aclose()
    else:
        for item in items:
            yield item
