"""The protocol of an executor, which runs tasks in processes. A new one is a file beside this one, and a line in
`executors`.

A task is a function of a module that takes one JSON object and returns another. It may run again after its process
was lost, even while the lost one is still working. So it writes only below folders that it makes itself, and its
result names them. Its result also reports failures (see `tasks`): an exception is a fault of the executor or of the
installation, and is not retried.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self

Json = dict[str, Any]
Function = Callable[[Json], Json]
Pause = Callable[[], None]

MOST_ATTEMPTS = 3
"""Attempts at a task whose process is lost each time."""
TICK = 0.1
"""Maximum seconds between two calls of `pause`."""


def job_of(function: Function, argument: Json) -> Json:
    """Return the message for a process: only names and JSON, so that it uses its own code."""
    return {"function": f"{function.__module__}:{function.__qualname__}", "argument": argument}


def function_of(name: str) -> Function:
    """Return the function named in a job of `job_of`."""
    module, _, function = name.partition(":")
    found: Function = getattr(importlib.import_module(module), function)
    return found


class ExecutorLost(Exception):
    """No task can run any more, or one was lost too often. The message is one sentence, without its full stop."""


class Executor(Protocol):
    """Processes for tasks, which end with the `with` block.

    Attributes:
        slots: how many tasks run at a time.
    """

    slots: int

    def __enter__(self) -> Self:
        """Connect or start. Raises `ExecutorLost`."""
        ...

    def __exit__(self, *_: object) -> None:
        """Cancel the remaining tasks, and disconnect or end the processes."""
        ...

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        """Yield the results in the order of the arguments, with a bounded number of tasks at a time.

        An argument is requested when its task is handed out, and again if the task restarts.
        `pause` is called at least every `TICK` seconds and may raise. However the iteration ends, even if it is
        abandoned, all its tasks are cancelled before this returns. A task whose process dies restarts, up to
        `MOST_ATTEMPTS` attempts. Raises `ExecutorLost`.
        """
        ...
