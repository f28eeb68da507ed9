"""Threads that nobody waits for: what blocks in one keeps neither an event loop nor the end of the program."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NAME = "lume-worker"


def spawn(target: Callable[..., object], *args: object) -> None:
    """Run it in a daemon thread."""
    threading.Thread(target=target, args=args, name=NAME, daemon=True).start()


class DaemonExecutor(ThreadPoolExecutor):
    """One daemon thread a job.

    The standard pool joins its threads at exit, so one job that hangs keeps the process from ending; and it
    refuses jobs in exit handlers, where a call that has to look up a host name would fail.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it soon."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # the waiting task gets it, as from any executor
                future.set_exception(error)
            else:
                future.set_result(result)

        try:
            spawn(job)
        except RuntimeError:  # no more threads: in an exit handler of newer Pythons
            job()
        return future
