"""One hop: starts a coroutine on the loop from another thread, and waits for its end."""

import asyncio
import contextlib
import contextvars
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType
from typing import Any, Generic, TypeVar

from lume_async._base.platform import IS_POSIX
from lume_async.errors import ClientClosedError
from lume_sync._hops.loop_thread import CLEAN_UP, LoopThread

T = TypeVar("T")

SLICE = 1.0 if IS_POSIX else 0.2
"""Seconds between two checks that the loop is alive. Not a limit: only a dead loop ends a wait.

On Windows no signal interrupts the wait for a lock: Ctrl-C is noticed at the next check."""


class Call(Generic[T]):
    """Scheduled by one thread, run by the loop's; the signal is a raw lock, which is the cheapest."""

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
            BaseException: an interruption of the wait, such as Ctrl-C; the coroutine was cancelled.
            ClientClosedError: the loop was closed before the coroutine could start.
        """
        calls = self._engine.calls
        try:
            calls.add(self)
            self._schedule(self._start)
            while not self._lock.acquire(True, SLICE):
                if self._is_lost() and not self._lock.acquire(False):
                    self.fail()
        except BaseException:
            try:
                self._interrupt()
            finally:
                if not self._done:  # a second Ctrl-C may have come before the cancellation was scheduled
                    with contextlib.suppress(ClientClosedError):
                        self._schedule(self._cancel)
            raise
        finally:
            calls.discard(self)

    def fail(self) -> None:
        """End the call with an error, because the loop has ended or the task was cancelled."""
        if not self.future.done():
            self.future.set_exception(_closed() if self._engine.closing else asyncio.CancelledError())
        self._finish()

    def _schedule(self, callback: Callable[[], None]) -> None:
        try:
            self._engine.post(callback)
        except RuntimeError:
            raise _closed() from None

    def _start(self) -> None:
        if self._engine.closing:  # a new task might never get its first step
            self.fail()
            return
        task = _first_step_taken(self._drive(), self._engine.loop, self._context)
        if not self._done:
            self._task = task

    async def _drive(self) -> None:
        # Caught here, because a task would pass SystemExit and KeyboardInterrupt on to the loop. The lock is
        # released here, because a done-callback would cost another iteration of the loop.
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
        # The task is released on the loop: its finalizer runs Python code of asyncio, where a Ctrl-C in the caller's
        # thread would be ignored. And the traceback of a task that was cancelled before its first step holds our
        # frame: a cycle, which would keep the called function alive.
        self._task = None
        if not self._done:
            self._done = True
            self._lock.release()

    def _is_lost(self) -> bool:
        """Return whether the thread has ended, or the task was cancelled before its first step: no `finally` runs."""
        task = self._task  # read once: the loop may release it at any time
        return not self._engine.thread.is_alive() or (task is not None and task.done())

    def _interrupt(self) -> None:
        """Cancel, then wait for the clean-up for a limited time; a second Ctrl-C ends this wait at once."""
        if not self._done:
            try:
                self._schedule(self._cancel)
                # In short slices: another thread may receive the next Ctrl-C, which does not wake this one.
                deadline = time.monotonic() + CLEAN_UP
                while not self._lock.acquire(True, 0.1) and time.monotonic() < deadline:
                    pass
            except ClientClosedError:
                return
        if self.future.done() and not self.future.cancelled():
            self.future.exception()  # retrieved, so that asyncio does not log it

    def _cancel(self) -> None:
        if not self.future.cancel():  # nobody waits for the result
            return
        if self._task is None:  # interrupted before it was scheduled
            self._finish()
        else:
            self._task.add_done_callback(lambda _: self._finish())  # no `finally` runs before the first step
            self._task.cancel()


def _first_step_taken(
    coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: contextvars.Context
) -> asyncio.Task[None]:
    """Start a task; its first step runs now if Python can do that: a turn of the loop costs a fifth of a hop."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
    return loop.create_task(coroutine, context=context)


def _context_on_the_loop() -> contextvars.Context:
    """Return the caller's context variables, except the one that names its asynchronous library.

    Under `anyio.run(backend="trio")` it is "trio", which would mislead anyio on our loop.
    """
    context = contextvars.copy_context()
    sniffio = sys.modules.get("sniffio")  # it owns that variable; trio imports it
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, None)
    return context


def without_own_frames(error: BaseException) -> BaseException:
    """Return the error with a traceback that begins in the core, without the frames of the hop."""
    traceback = error.__traceback__
    while traceback is not None and is_own(traceback.tb_frame):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def is_own(frame: FrameType) -> bool:
    """Return whether a frame is of this package."""
    return str(frame.f_globals.get("__name__")).startswith("lume_sync.")


def _closed() -> ClientClosedError:
    return ClientClosedError("the event loop of lume_sync was closed during this call")
