"""`Recorder`: a journal as seen from the event loop: one thread of its own, in which nothing is left half done."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Concatenate, ParamSpec, Self, TypeVar

from lume_async._base.tasks import until_done
from lume_async._batch.entries import Entry, Row
from lume_async._batch.journal import Journal
from lume_async.models import RunRequest

P = ParamSpec("P")
T = TypeVar("T")

AHEAD = 512
"""How many items of the input are read from the journal in one call."""


class Recorder:
    """Makes the calls of one journal, one after the other, off the event loop.

    What was asked for is done even where the one who asked is cancelled: a run that was started must be known
    to the next start. The file is opened first in this thread and closed last, so that no call meets its end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lume-journal")
        self._journal: Future[Journal] = self._call(lambda: Journal.open(path))
        self._read: dict[int, list[Row]] = {}
        self._read_to = -1

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the journal, or begin a new one.

        Raises:
            ConfigurationError: see `Journal.open`.
        """
        recorder = cls(path)
        try:
            await recorder.read_ahead(0)
        except BaseException:
            await recorder.aclose()
            raise
        return recorder

    async def read_ahead(self, item: int) -> None:
        """See to it that the item's entries are at hand; those of the next ones come with them."""
        if item >= self._read_to:
            self._read = await self.record(Journal.rows, item, AHEAD)
            self._read_to = item + AHEAD

    def entry(self, item: int, request: RunRequest) -> Entry | None:
        """What is known of an item that was read ahead. Ask for each once, in the order of the input.

        Raises:
            ConfigurationError: the item was another one before.
        """
        return self._journal.result().entry(item, request, self._read.pop(item, []))

    async def record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T:
        """One call of a method of `Journal`."""
        return await _result(self.note(method, *values, **named))

    def note(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> Future[T]:
        """The same without waiting for it."""
        return self._call(lambda: method(self._journal.result(), *values, **named))

    async def aclose(self) -> None:
        """Let go of the file, after all that was asked for."""
        closing = self._call(self._close)
        self._thread.shutdown(wait=False)
        await until_done(asyncio.wrap_future(closing))
        closing.result()

    def _close(self) -> None:
        if self._journal.exception() is None:
            self._journal.result().close()

    def _call(self, work: Callable[[], T]) -> Future[T]:
        try:
            return self._thread.submit(work)
        except RuntimeError:  # the interpreter is exiting and starts no more threads
            done: Future[T] = Future()
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)
            return done


async def _result(work: Future[T]) -> T:
    """What comes of the work; who is cancelled meanwhile doesn't cancel it, and nobody is told how it ended."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    def wake(_work: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell)

    work.add_done_callback(wake)
    await ended
    return work.result()
