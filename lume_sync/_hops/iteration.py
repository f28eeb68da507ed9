"""Asynchronous iterators for synchronous code: stepped on demand, many ready items per hop."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

from lume_async._base.batched import take_ready
from lume_sync._hops.loop_thread import LoopThread
from lume_sync._hops.owner import Owner, refuse_others, settle
from lume_sync._hops.portal import Portal

S = TypeVar("S")
T = TypeVar("T")

BATCH = 256
"""The maximum number of items per hop."""


class _Source(Owner, Generic[S]):
    """Owns an asynchronous iterator and steps it on demand, never ahead."""

    def __init__(self, portal: Portal, source: AsyncIterator[S]) -> None:
        super().__init__(portal)
        self.source = source
        self._demands: asyncio.Queue[asyncio.Future[list[S]]] = asyncio.Queue()
        self._kept: list[S] = []
        self._interrupted = False
        self._ended = False

    async def step(self) -> list[S]:
        """The next items; an empty list at the end."""
        if self._kept:
            kept, self._kept = self._kept, []
            return kept
        if self._ended:
            return []
        if self.engine is None:
            self.begin(self._own())
        else:
            self.adopt_context()
        answer: asyncio.Future[list[S]] = asyncio.get_running_loop().create_future()
        self._demands.put_nowait(answer)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:  # Ctrl-C in the caller
            await self._interrupt(answer)
            raise

    async def stop(self) -> None:
        """End the iteration. Idempotent."""
        self._ended = True
        await self.cancel()

    async def _interrupt(self, answer: "asyncio.Future[list[S]]") -> None:
        """Withdraw the demand and wait for the clean-up; keep items that arrived nevertheless for the next step."""
        if not answer.done() and self.task is not None:
            self._interrupted = True
            self.task.cancel()
            await asyncio.wait({answer})
        if not answer.cancelled() and answer.exception() is None:
            self._kept = answer.result()

    async def _own(self) -> None:
        """The owner task: answers each demand, then closes the source."""
        answer: asyncio.Future[list[S]] | None = None
        outcome: list[S] | BaseException = []
        try:
            while not self._ended:
                answer = await self._demands.get()
                settle(answer, await self._next_items())
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError as error:
            if not self._ended:  # the source cancelled itself, or this iteration was garbage-collected
                outcome = error
        except BaseException as error:
            outcome = error
        self._ended = True
        try:
            await self._close_source()
        except BaseException as error:
            outcome = error
        if answer is not None:
            settle(answer, outcome)

    async def _next_items(self) -> list[S] | BaseException:
        try:
            items = [await anext(self.source)]
        except asyncio.CancelledError as error:
            if not self._interrupted:
                raise
            # Only this step was cancelled: the next one shows whether the source can continue.
            self._interrupted = False
            if self.task is not None:
                self.task.uncancel()
            return error
        return items + take_ready(self.source, BATCH - 1)

    async def _close_source(self) -> None:
        aclose = getattr(self.source, "aclose", None)
        if aclose is not None:
            await aclose()


class Iteration(Iterator[T], Generic[S, T]):
    """An asynchronous iteration, stepped from any thread; garbage collection ends it.

    Args:
        portal: runs calls on the loop.
        source: the asynchronous iterator.
        wrap: converts an item of the source.
    """

    def __init__(self, portal: Portal, source: AsyncIterator[S], wrap: Callable[[S], T]) -> None:
        self._portal = portal
        self._owner = _Source(portal, source)
        self._wrap = wrap
        self._items: deque[S] = deque()
        self._ended = False
        self._turn = threading.Lock()  # several threads may share one iteration
        self._home: LoopThread | None = None

    def __iter__(self) -> "Iteration[S, T]":
        """The iterator itself."""
        return self

    def __repr__(self) -> str:
        """The kind of items, and how to get them."""
        what = getattr(self._owner.source, "what", "items")
        return f"<{what}, fetched as needed: use a for loop or list(...)>"

    def __next__(self) -> T:
        """The next item, when it is ready."""
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                pass  # an error of the fetch must not have this one as its context
            else:
                return self._wrap(item)
            fetched = self._fetch()
            if fetched is not None and not fetched.result():
                raise StopIteration

    def hand_over(self) -> AsyncIterator[S] | None:
        """End this iteration and return its source, for a reader on the loop; None if the iteration has begun."""
        with self._turn:
            if self._owner.engine is not None or self._ended:
                return None
            self._ended = True
            return self._owner.source

    def close(self) -> None:
        """End the iteration now and wait for its clean-up. Leaving a loop early does the same, without waiting."""
        self._ended = True
        self._items.clear()
        if self._owner.engine is not None and not self._owner.engine.closing:
            self._portal.call(self._owner.stop).result()

    def bind(self, engine: LoopThread | None) -> None:
        """Set the loop on which the context manager of the items was entered."""
        self._home = engine

    async def stop(self) -> None:
        """On the loop: end the iteration, with its context manager."""
        self._ended = True
        self._items.clear()
        await self._owner.stop()

    def _fetch(self) -> "asyncio.Future[list[S]] | None":
        """Fetch items with one hop; None if another thread has done so."""
        with self._turn:
            if self._items:
                return None
            if self._ended:
                raise StopIteration
            refuse_others(self._portal, self._home, "block")
            refuse_others(self._portal, self._owner.engine, "iteration")
            fetched = self._portal.call(self._owner.step)
            if fetched.exception() is None:
                self._items.extend(fetched.result())
            self._ended = not self._items  # an error ends an iteration, too
            return fetched

    def __del__(self) -> None:
        owner = getattr(self, "_owner", None)  # None: the constructor failed
        if owner is not None:
            owner.drop()
