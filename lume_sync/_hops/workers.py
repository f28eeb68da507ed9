"""Runs blocking user code (a key function, an iterable of requests) in its own threads, never on the loop."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar, cast

from lume_async._base.batched import Items
from lume_async._base.threads import JobThread, in_thread

P = ParamSpec("P")
T = TypeVar("T")

_END = object()


class DaemonExecutor(ThreadPoolExecutor):
    """A daemon thread per job: delays neither the end of the program nor a call in an exit handler."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the job in a new thread."""
        return in_thread(partial(fn, *args, **kwargs))


class Pulled(Items[T]):
    """A plain iterable as an asynchronous iterator: pulled on demand in its own thread, never ahead."""

    def __init__(self, iterable: Iterable[T]) -> None:
        # In the caller's thread, so that a wrong argument fails at once.
        self._iterator: Iterator[T] | None = iter(iterable)
        self._worker = JobThread()

    async def __anext__(self) -> T:
        if self._iterator is None:
            raise StopAsyncIteration
        item = await self._worker.run(next, self._iterator, _END)
        if item is _END:
            raise StopAsyncIteration
        return cast("T", item)

    async def aclose(self) -> None:
        """Stop pulling, and end the thread, without waiting for an iterable that blocks."""
        self._worker.then(partial(id, self._iterator))  # so that a generator is finalized in its own thread
        self._iterator = None
        self._worker.close()
