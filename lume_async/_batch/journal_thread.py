"""`Recorder`: a journal as seen from the event loop: one thread of its own, in which nothing is left half done."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, Self, TypeVar

from lume_async._base.tasks import until_done
from lume_async._batch.journal import Journal

P = ParamSpec("P")
T = TypeVar("T")


class Recorder:
    """Makes the calls of one journal, one after the other, off the event loop.

    What was asked for is done even where the one who asked is cancelled: a run that was started must be known
    to the next start. The file is opened first in this thread and closed last, so that no call meets its end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lume-journal")
        self._journal: Future[Journal] = self._thread.submit(Journal.open, path)

    @classmethod
    async def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the journal, or begin a new one.

        Raises:
            ConfigurationError: see `Journal.open`.
        """
        recorder = cls(path)
        try:
            await _done(recorder._journal)
        except BaseException:
            await recorder.aclose()
            raise
        return recorder

    async def record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T:
        """One call of a method of `Journal`."""
        return await _done(self.note(method, *values, **named))

    def note(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> Future[T]:
        """The same without waiting for it."""
        return self._thread.submit(lambda: method(self._journal.result(), *values, **named))

    async def aclose(self) -> None:
        """Let go of the file, after all that was asked for."""
        closing = asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)
        await until_done(closing)
        closing.result()

    def _close(self) -> None:
        if self._journal.exception() is None:
            self._journal.result().close()


async def _done(work: Future[T]) -> T:
    return await asyncio.shield(asyncio.wrap_future(work))
