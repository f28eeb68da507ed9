"""`Recorder`: access to a journal from the event loop, through one dedicated thread."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Concatenate, ParamSpec, Self, TypeVar

from lume_async._base.clock import AT_WORK
from lume_async._base.tasks import until_done
from lume_async._batch.entries import Entry, Row
from lume_async._batch.journal import Journal
from lume_async.models import RunRequest

P = ParamSpec("P")
T = TypeVar("T")

AHEAD = 512
"""The number of items that one call reads from the journal."""


class Recorder:
    """Calls a journal's methods one after the other, in a thread.

    A call is completed even if its caller is cancelled: the next start must know every run that was started.
    Opening is the thread's first call and closing its last, so no call finds the file closed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lume-journal")
        self._journal: Future[Journal] = self._call(lambda: Journal.open(path))
        self._read: dict[int, list[Row]] = {}
        self._read_to = -1

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the journal, or create a new one. Raises `ConfigurationError` as `Journal.open` does."""
        recorder = cls(path)
        try:
            await recorder.read_ahead(0)
        except BaseException:
            await recorder.aclose()
            raise
        return recorder

    async def read_ahead(self, item: int) -> None:
        """Read the entries of the item and the next ones, unless they were read already."""
        if item >= self._read_to:
            self._read = await self.record(Journal.rows, item, AHEAD)
            self._read_to = item + AHEAD

    def entry(self, item: int, request: RunRequest) -> Entry | None:
        """Return the entry of an item that was read ahead: see `Journal.entry`. Once per item, in input order."""
        return self._journal.result().entry(item, request, self._read.pop(item, []))

    async def record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T:
        """Call a method of `Journal`."""
        return await _result(self.note(method, *values, **named))

    def note(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Call a method of `Journal` without waiting for the result."""
        return self._call(lambda: method(self._journal.result(), *values, **named))

    async def aclose(self) -> None:
        """Close the file after all pending calls."""

        def close() -> None:
            if self._journal.exception() is None:
                self._journal.result().close()

        closing = self._call(close)
        self._thread.shutdown(wait=False)
        await until_done(asyncio.wrap_future(closing))
        closing.result()

    def _call(self, work: Callable[[], T]) -> Future[T]:
        try:
            called = self._thread.submit(work)
            AT_WORK.add(called)
            called.add_done_callback(AT_WORK.discard)
            return called
        except RuntimeError:  # the interpreter is exiting and starts no threads
            done: Future[T] = Future()
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)
            return done


async def _result(work: Future[T]) -> T:
    """Wait for the result. Cancelling the wait does not cancel the work, whose outcome is then ignored."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def wake(_work: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits any more
            loop.call_soon_threadsafe(end)

    work.add_done_callback(wake)
    await ended
    return work.result()
