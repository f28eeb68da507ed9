"""Blocking work in daemon threads, which delay neither an event loop, nor the end of the program, nor a fork."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeAlias, TypeVar

from lume_async._base.platform import at_fork
from lume_async._base.tasks import running_loop

P = ParamSpec("P")
T = TypeVar("T")


def spawn(target: Callable[..., object], *arguments: object) -> None:
    """Start a daemon thread, so that no exit waits for it. Raises `RuntimeError` if no thread can be started."""
    threading.Thread(target=target, args=arguments, name="lume-worker", daemon=True).start()


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a new daemon thread.

    The standard pools join their threads at exit, so a lookup that hangs would keep the process from ending; and
    they refuse work in exit handlers, where host names could not be looked up.
    """
    future: Future[T] = Future()

    def job() -> None:
        settle(future, *outcome_of(work))

    future.set_running_or_notify_cancel()
    try:
        spawn(job)
    except RuntimeError:  # no thread can be started, as in exit handlers of newer Pythons
        job()
    return future


def outcome_of(work: Callable[[], object]) -> tuple[str, object]:
    """Do the work; return the method of a future that takes its result or its error, and that."""
    try:
        return "set_result", work()
    except StopIteration as error:  # a future does not accept it; coroutines convert it, too (PEP 479)
        raised = RuntimeError("the function raised StopIteration")
        raised.__cause__ = error
        return "set_exception", raised
    except BaseException as error:  # raised in the waiting task
        return "set_exception", error


def settle(future: "Future[Any] | asyncio.Future[Any]", how: str, value: object) -> None:
    """Give the future its result or its error."""
    if not future.done():  # it may have been cancelled
        getattr(future, how)(value)


_Job: TypeAlias = tuple[asyncio.Future[Any] | None, Callable[[], object]]


class JobThread:
    """A daemon thread for blocking code of a user, in the context of the caller who creates this object.

    One thread instead of a pool: generators may hold objects that are bound to a thread (SQLite cursors). It starts
    with the first job and ends with `close`. A cancelled job keeps running, but nobody waits for it: long jobs
    check `closed`.
    """

    def __init__(self) -> None:
        self.closed = False
        self._context = contextvars.copy_context()
        self._jobs: SimpleQueue[_Job | None] | None = None
        self._has_thread = True

    async def run(self, job: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Run the job after those before it."""
        answer: asyncio.Future[T] = running_loop().create_future()
        if self._jobs is None:
            self._jobs = SimpleQueue()
            try:
                spawn(self._context.run, _work, self._jobs)
            except RuntimeError:  # no thread can be started, as in exit handlers of newer Pythons
                self._has_thread = False
        self._jobs.put((answer, partial(job, *arguments, **options)))
        if not self._has_thread:
            self._jobs.put(None)
            self._context.run(_work, self._jobs)
        try:
            return await answer
        finally:
            del answer  # a cycle: it holds the error, whose traceback holds this frame

    def then(self, job: Callable[[], object]) -> None:
        """Run the job after those before it, but don't wait for it; at once if no thread was started."""
        if self._jobs is not None and self._has_thread:
            self._jobs.put((None, job))
        else:
            job()

    def close(self) -> None:
        """End the thread after its queued jobs. Never waits."""
        self.closed = True
        if self._jobs is not None and self._has_thread:
            self._jobs.put(None)

    def __del__(self) -> None:
        self.close()


def _work(jobs: "SimpleQueue[_Job | None]") -> None:
    while (taken := jobs.get()) is not None:
        answer, job = taken
        how, value = outcome_of(job)
        if answer is not None:
            with suppress(RuntimeError):  # the loop was closed before the job ended
                answer.get_loop().call_soon_threadsafe(settle, answer, how, value)
        del taken, answer, job, value  # an idle thread must not keep the user's objects alive


class ForkShy:
    """Delays forks while work runs in the C library.

    A lock that is held during a fork (one of `getaddrinfo`, for example) stays locked in the child for ever.
    """

    LONGEST_DELAY = 0.5
    """The maximum delay of a fork in seconds. Longer work waits for the network and holds no such lock."""

    def __init__(self) -> None:
        self._reset()
        at_fork(before=self._delay, after_in_parent=self._release, after_in_child=self._reset)

    def run(self, work: Callable[[], T]) -> T:
        """Run `work` in this thread, but not while the process is forking."""
        with self._changed:
            self._under_way += 1
        try:
            return work()
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0

    def _delay(self) -> None:
        self._changed.acquire()
        self._changed.wait_for(lambda: self._under_way == 0, self.LONGEST_DELAY)

    def _release(self) -> None:
        self._changed.release()


_shy = ForkShy()


async def run_in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call `function` in a thread of its own: the loop's default threads may be busy for hours."""
    call = partial(function, *arguments, **options)
    return await asyncio.wrap_future(in_thread(partial(_shy.run, call)))
