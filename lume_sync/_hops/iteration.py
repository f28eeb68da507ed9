"""Asynchronous iterators for synchronous code: stepped on demand, many ready items per hop."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, Self, TypeVar

from lume_async import Page
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

    def __init__(self, portal: Portal, source: AsyncIterator[S], handle: object) -> None:
        super().__init__(portal, handle)
        self.source = source
        self.handed_over = False
        self._stepping: asyncio.Task[Any] | None = None
        self._demands: asyncio.Queue[asyncio.Future[list[S]]] = asyncio.Queue()
        self._answering: asyncio.Future[list[S]] | None = None
        self._given_up: asyncio.Future[list[S]] | None = None
        self._kept: list[S] = []

    async def step(self) -> list[S]:
        """Return the next items; an empty list at the end."""
        while self._stepping is not None:  # left by a second Ctrl-C, it still cleans up
            await asyncio.wait({self._stepping})
        if self._kept:
            kept, self._kept = self._kept, []
            return kept
        if self.ended:
            return []
        if self.engine is None:
            self.begin(self._own())
        else:
            self.adopt_context()
        answer: asyncio.Future[list[S]] = asyncio.get_running_loop().create_future()
        self._demands.put_nowait(answer)
        self._stepping = asyncio.current_task()
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:  # Ctrl-C in the caller
            await self._interrupt(answer)
            raise
        finally:
            self._stepping = None

    async def stop(self) -> None:
        """End the iteration. Idempotent."""
        if self.handed_over:
            await self._close_source()
        await self.cancel()

    async def _interrupt(self, answer: "asyncio.Future[list[S]]") -> None:
        """Withdraw the demand and wait for the clean-up; keep items that still arrived for the next step."""
        if answer is not self._answering:
            answer.cancel()  # the owner has not seen it yet
        elif not answer.done() and self.task is not None:
            self._given_up = answer
            self.task.cancel()
            await asyncio.wait({answer})
        if not answer.cancelled() and answer.exception() is None:
            self._kept = answer.result()

    async def _own(self) -> None:
        """Answer each demand, then close the source, as the owner task."""
        outcome: list[S] | BaseException = []
        try:
            while not self.ended:
                self._answering = await self._demands.get()
                if not self._answering.cancelled():
                    settle(self._answering, await self._next_items())
                if self._answering is self._given_up and self.task is not None:
                    self.task.uncancel()
                self._answering = self._given_up = None
        except StopAsyncIteration:
            pass
        except asyncio.CancelledError as error:
            if not self.ended:  # the source cancelled itself, or the portal is closing
                outcome = error
        except BaseException as error:
            outcome = error
        self.ended = True
        try:
            await self._close_source()
        except BaseException as error:
            outcome = error
        if self._answering is not None:
            settle(self._answering, outcome)
        del outcome  # a cycle: the traceback of an error holds this frame and the source's objects
        self._answering = self._given_up = None

    async def _next_items(self) -> list[S] | BaseException:
        try:
            items = [await anext(self.source)]
        except asyncio.CancelledError as error:
            if self.ended or self._given_up is not self._answering:
                raise
            return error  # only this step was cancelled: the next one shows whether the source can continue
        return items + take_ready(self.source, BATCH - 1)

    async def _close_source(self) -> None:
        aclose = getattr(self.source, "aclose", None)
        if aclose is not None:
            await aclose()

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        super()._on_done(task)
        self.ended = True
        while not self._demands.empty():  # cancelled before it has taken them
            settle(self._demands.get_nowait(), [])


class Items(Iterator[T]):
    """An iterator that works while it is read, as `run_many`, `list_runs` and others return it.

    Nothing is sent before the first step. Use it as a context manager to end the work with the block, however it is
    left: then nothing is sent, and no task, thread, connection or journal is in use. Closing does the same. Leaving a
    loop early also ends the work, but only when the iterator is garbage-collected: a variable keeps it alive.

    Examples:
        >>> with client.list_runs(flow="customer_cleaner") as found:
        ...     newest = next(found)
    """

    __module__ = "lume_sync"

    def __init__(self, portal: Portal, source: AsyncIterator[Any], wrap: Callable[[Any], T]) -> None:
        self._portal = portal
        self._owner = _Source(portal, source, self)
        self._wrap_item = wrap
        self._items: deque[Any] = deque()
        self._turn = threading.Lock()  # several threads may share one iteration
        self._home: LoopThread | None = None

    def __iter__(self) -> Self:
        """Return the iterator itself."""
        return self

    def __next__(self) -> T:
        """Return the next item, when it is ready."""
        while True:
            try:
                item = self._items.popleft()
            except IndexError:
                pass  # an error of the fetch must not have this one as its context
            else:
                return self._wrap_item(item)
            fetched = self._fetch()
            if fetched is not None and not fetched.result():
                raise StopIteration

    def __enter__(self) -> Self:
        """Return the iterator itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the work."""
        self.close()

    def close(self) -> None:
        """End the work and wait for its end. A step that is under way ends its iteration, too. Idempotent.

        Examples:
            >>> found = client.list_runs()
            >>> newest = next(found)
            >>> found.close()
        """
        try:
            self._owner.ended = True
            self._items.clear()
            if self._owner.engine is not None and not self._owner.engine.closing:
                self._portal.call(self._owner.stop).result()
        finally:  # also after a Ctrl-C between two of these lines
            self._owner.drop()

    def __repr__(self) -> str:
        """Return the kind of items, and how to get them."""
        what = getattr(self._owner.source, "what", "items")
        return f"<{what}, fetched as needed: use a for loop or list(...)>"

    def _hand_over(self) -> AsyncIterator[Any] | None:
        """End this iteration and return its source, for a reader on the loop; None if the iteration has begun."""
        with self._turn:
            if self._owner.engine is not None or self._owner.ended:
                return None
            self._owner.engine = self._portal.engine()
            self._owner.ended = self._owner.handed_over = True
            return self._owner.source

    def _bind(self, engine: LoopThread | None) -> None:
        """Set the loop on which the context manager of the items was entered."""
        self._home = engine

    async def _stop(self) -> None:
        """End the iteration and its context manager, on the loop."""
        self._items.clear()
        await self._owner.stop()

    def _fetch(self) -> "asyncio.Future[list[Any]] | None":
        """Fetch items with one hop; None if another thread has done so."""
        with self._turn:
            items, owner = self._items, self._owner
            if items:
                return None
            if owner.ended:
                raise StopIteration
            refuse_others(self._portal, self._home, "block")
            refuse_others(self._portal, owner.engine, "iteration")
            fetched = self._portal.call(owner.step)
            if fetched.exception() is None:
                items.extend(fetched.result())
            if not items:  # an error ends an iteration, too
                owner.ended = True
            return fetched

    def __del__(self) -> None:
        owner = getattr(self, "_owner", None)  # None: the constructor failed
        if owner is not None:
            owner.drop()


class Paged(Items[T]):
    """An iterator over a list of the server, which is fetched page by page, as `list_runs` returns it.

    Examples:
        >>> with client.list_runs(flow="customer_cleaner") as found:
        ...     newest = next(found)
    """

    __module__ = "lume_sync"

    def pages(self) -> Items[Page[T]]:
        """Return an iterator over whole pages, from the beginning, each with the cursor from which to go on later.

        A page may be empty. Pass its `cursor` to the same method with the same arguments, also in another process.

        Examples:
            >>> for page in client.list_runs(limit=500).pages():
            ...     print(len(page.items), page.cursor)
        """
        core: Any = self._owner.source
        wrap = self._wrap_item
        return Items(
            self._portal, core.pages(), lambda page: Page([wrap(one) for one in page.items], page.cursor)
        )
