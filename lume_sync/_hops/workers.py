"""Runs blocking user code (a key function, an iterable of requests) in its own threads, never on the loop."""

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
    """A daemon thread per job: delays neither the end of the program nor a call in an exit handler."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the job in a new thread."""
        return in_thread(partial(fn, *args, **kwargs))


class Pulled(AsyncIterator[T], Generic[T]):
    """A plain iterable as an asynchronous iterator: pulled on demand in one thread of its own, never ahead.

    One thread instead of a pool: generators may hold objects that are bound to a thread (SQLite cursors).
    """

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterator = iter(iterable)  # in the caller's thread, so that a wrong argument fails at once
        self._demands: SimpleQueue[asyncio.Future[Any] | None] | None = None
        self._has_thread = True

    def __aiter__(self) -> "Pulled[T]":
        """The iterator itself."""
        return self

    async def __anext__(self) -> T:
        """The next item, when the iterable yields it."""
        if self._demands is None:
            self._demands = SimpleQueue()
            try:
                spawn(_pull, self._iterator, self._demands)
            except RuntimeError:  # no thread can be started, as in exit handlers of newer Pythons
                self._has_thread = False
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._demands.put(answer)
        if not self._has_thread:
            self._demands.put(None)
            _pull(self._iterator, self._demands)
        try:
            item: T = await answer
        finally:
            del answer  # a cycle: it holds the error, whose traceback holds this frame
        if item is _END:
            raise StopAsyncIteration
        return item

    def __del__(self) -> None:
        if (demands := getattr(self, "_demands", None)) is not None:
            demands.put(None)  # ends the thread


def _pull(iterator: Iterator[T], demands: "SimpleQueue[asyncio.Future[Any] | None]") -> None:
    while (answer := demands.get()) is not None:
        try:
            item = next(iterator)
        except StopIteration:
            _settle(answer, answer.set_result, _END)
        except BaseException as error:  # raised in the user's call
            _settle(answer, answer.set_exception, error)
        else:
            _settle(answer, answer.set_result, item)
            del item  # an idle thread must not keep the user's object alive
        del answer


def _settle(answer: "asyncio.Future[Any]", setter: Callable[[Any], None], value: Any) -> None:
    def set_if_wanted() -> None:
        if not answer.done():  # it may have been cancelled
            setter(value)

    try:
        answer.get_loop().call_soon_threadsafe(set_if_wanted)
    except RuntimeError:
        return  # the loop was closed before the iterable yielded
