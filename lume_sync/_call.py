"""One hop: a coroutine started on the loop from another thread, and the wait for its end."""

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from lume_async.errors import ClientClosedError
from lume_sync._loop_thread import CLEAN_UP, LoopThread

T = TypeVar("T")

SLICE = 1.0
"""Seconds between two checks that the loop is still there. Not a limit: only a dead loop ends a wait."""


class Call(Generic[T]):
    """Scheduled by one thread, run by the loop's; a raw lock is the signal (the cheapest there is)."""

    __slots__ = ("_args", "_context", "_done", "_engine", "_func", "_kwargs", "_lock", "_task", "future")

    def __init__(
        self,
        engine: LoopThread,
        func: Callable[..., Awaitable[T]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._func = func
        self._args = args
        self._kwargs = kwargs
        self._context = _context_on_the_loop()
        self._done = False
        self._task: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._lock.acquire()
        self.future: asyncio.Future[T] = engine.loop.create_future()

    def run(self) -> None:
        """Run the coroutine and return when `future` is settled.

        Raises:
            BaseException: whatever interrupted the wait, such as Ctrl-C; the coroutine is cancelled by then.
            ClientClosedError: the loop was closed before the coroutine could start.
        """
        calls = self._engine.calls
        calls.add(self)
        try:
            self._schedule(self._start)
            while not self._lock.acquire(True, SLICE):
                if self._is_lost() and not self._lock.acquire(False):
                    self.fail()
        except BaseException:
            self._interrupt()
            raise
        finally:
            calls.discard(self)

    def fail(self) -> None:
        """The loop is gone, or the task was taken from us: say so instead of waiting on."""
        if not self.future.done():
            self.future.set_exception(_closed() if self._engine.closing else asyncio.CancelledError())
        self._finish()

    def _schedule(self, callback: Callable[[], None]) -> None:
        try:
            self._engine.loop.call_soon_threadsafe(callback, context=self._context)
        except RuntimeError:
            raise _closed() from None

    def _start(self) -> None:
        if self._engine.closing:  # the last turns of the loop: a new task might not get its first step
            self.fail()
            return
        self._task = self._engine.loop.create_task(self._drive(), context=self._context)

    async def _drive(self) -> None:
        # Caught here, and not by the task, because a task would pass SystemExit and KeyboardInterrupt on to
        # the loop; and the lock is released here, because a done-callback would cost another turn of the loop.
        try:
            result = await self._func(*self._args, **self._kwargs)
        except BaseException as error:
            if not self.future.done():
                lost = self._engine.closing and isinstance(error, asyncio.CancelledError)
                self.future.set_exception(_closed() if lost else without_own_frames(error))
        else:
            if not self.future.done():
                self.future.set_result(result)
        finally:
            self._finish()

    def _finish(self) -> None:
        # Let go of here, on the loop: a task that dies calls Python code of asyncio's, and a Ctrl-C that arrives
        # there, in the caller's thread, would be an ignored exception. And one that was cancelled before its first
        # step has a traceback with our frame: the two would keep each other, and what is to be called, alive.
        self._task = None
        if not self._done:
            self._done = True
            self._lock.release()

    def _is_lost(self) -> bool:
        """The thread died, or somebody cancelled our task before its first step, where no `finally` runs."""
        task = self._task  # the loop may let go of it between two looks
        return not self._engine.thread.is_alive() or (task is not None and task.done())

    def _interrupt(self) -> None:
        """Cancel, then wait for the clean-up, but not for ever; a second Ctrl-C ends this wait at once."""
        if not self._done:
            try:
                self._schedule(self._cancel)
                # In short slices: the kernel may hand the next Ctrl-C to another thread, which wakes nobody here.
                deadline = time.monotonic() + CLEAN_UP
                while not self._lock.acquire(True, 0.1) and time.monotonic() < deadline:
                    pass
            except ClientClosedError:
                return
        if self.future.done() and not self.future.cancelled():
            self.future.exception()  # nobody else will ask for it, and asyncio would say so on stderr

    def _cancel(self) -> None:
        self.future.cancel()  # the result has nowhere to go
        if self._task is None:  # interrupted before it was scheduled
            self._finish()
        else:
            self._task.add_done_callback(lambda _: self._finish())  # no `finally` where it has not begun
            self._task.cancel()


def _context_on_the_loop() -> contextvars.Context:
    """The caller's context variables, but for the one that names its asynchronous library.

    Under `anyio.run(backend="trio")` it says trio, and on our loop anyio would believe it.
    """
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")  # it keeps that variable; trio imports it
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


def without_own_frames(error: BaseException) -> BaseException:
    """The error with a traceback that begins in the core: the hop is of no interest to anybody."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__:
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def _closed() -> ClientClosedError:
    return ClientClosedError("the event loop of lume_sync was closed during this call")
