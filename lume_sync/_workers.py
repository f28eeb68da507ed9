"""User code that blocks (a key provider, an iterable of requests) runs in threads of its own, never on the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

from lume_async._base.threads import in_thread, spawn

P = ParamSpec("P")
T = TypeVar("T")

_END = object()


class DaemonExecutor(ThreadPoolExecutor):
    """One daemon thread a job, which holds up neither the end of the program nor a call in an exit handler."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it soon."""
        return in_thread(partial(fn, *args, **kwargs))


class Pulled(AsyncIterator[T], Generic[T]):
    """A plain iterable as an async one: pulled on demand, in one thread of its own, never ahead of the demand.

    One thread and not a pool: generators may hold things that are bound to their thread (SQLite cursors).
    """

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterator = iter(iterable)  # in the caller's thread: a wrong argument fails at once
        self._demands: SimpleQueue[asyncio.Future[Any] | None] | None = None

    def __aiter__(self) -> "Pulled[T]":
        """The iterator itself."""
        return self

    async def __anext__(self) -> T:
        """The next item, once the iterable has one."""
        if self._demands is None:
            self._demands = SimpleQueue()
            spawn(_pull, self._iterator, self._demands)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._demands.put(answer)
        try:
            item: T = await answer
        finally:
            del answer  # it holds the error whose traceback holds this frame: a cycle, and `self` in it
        if item is _END:
            raise StopAsyncIteration
        return item

    def __del__(self) -> None:
        if (demands := getattr(self, "_demands", None)) is not None:
            demands.put(None)  # lets the thread go


def _pull(iterator: Iterator[T], demands: "SimpleQueue[asyncio.Future[Any] | None]") -> None:
    while (answer := demands.get()) is not None:
        try:
            item = next(iterator)
        except StopIteration:
            _settle(answer, answer.set_result, _END)
        except BaseException as error:  # the user's error reaches the user's call
            _settle(answer, answer.set_exception, error)
        else:
            _settle(answer, answer.set_result, item)
            del item  # a thread that waits keeps nothing of the user's alive
        del answer


def _settle(answer: "asyncio.Future[Any]", setter: Callable[[Any], None], value: Any) -> None:
    def set_if_wanted() -> None:
        if not answer.done():  # cancelled meanwhile
            setter(value)

    try:
        answer.get_loop().call_soon_threadsafe(set_if_wanted)
    except RuntimeError:
        return  # the loop was closed while the iterable made up its mind
