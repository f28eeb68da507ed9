"""Work that blocks, in threads that hold up neither an event loop, nor the end of the program, nor a fork."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def spawn(target: Callable[..., object], *arguments: object) -> None:
    """Start a daemon thread: the end of the program does not wait for it.

    Raises:
        RuntimeError: there are no more threads.
    """
    threading.Thread(target=target, args=arguments, name="lume-worker", daemon=True).start()


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Run it in a daemon thread of its own.

    The standard pools join their threads at exit, so one lookup that hangs would keep the process from ending; and
    they refuse work in exit handlers, where a call that has to look up a host name would fail.
    """
    future: Future[T] = Future()

    def job() -> None:
        try:
            result = work()
        except StopIteration as error:  # no future takes one, and no coroutine lets one out
            future.set_exception(_as_runtime_error(error))
        except BaseException as error:  # for the task that waits
            future.set_exception(error)
        else:
            future.set_result(result)

    future.set_running_or_notify_cancel()
    try:
        spawn(job)
    except RuntimeError:  # no more threads: in an exit handler of newer Pythons
        job()
    return future


def _as_runtime_error(error: StopIteration) -> RuntimeError:
    """What a coroutine or a generator makes of it (PEP 479)."""
    raised = RuntimeError("the function raised StopIteration")
    raised.__cause__ = error
    return raised


class ForkShy:
    """Work in the C library that a fork should not meet.

    A lock that it holds at that moment (those of `getaddrinfo`, say) would stay locked in the child for ever.
    """

    LONGEST_DELAY = 0.5
    """Seconds that a fork waits for it at the most. What takes longer waits for the network, without such a lock."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(before=self._hold_back, after_in_parent=self._go_on, after_in_child=self._reset)

    def run(self, work: Callable[[], T]) -> T:
        """Run it here and now, but not while the process is forking."""
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

    def _hold_back(self) -> None:
        self._changed.acquire()
        self._changed.wait_for(lambda: self._under_way == 0, self.LONGEST_DELAY)

    def _go_on(self) -> None:
        self._changed.release()


_shy = ForkShy()


async def run_in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """The result of `function`, awaited: a program may have filled its loop's usual threads for hours."""
    call = partial(function, *arguments, **options)
    return await asyncio.wrap_future(in_thread(partial(_shy.run, call)))
