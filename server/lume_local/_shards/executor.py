"""What an executor is: a place with processes in which tasks run. A new one is a file beside this one, and a line
in `executors`.

A task is a function of a module, called with one JSON object, that gives another one. It may be run again after its
process was lost, also while the lost one is still at work: so it writes only below folders that it makes itself, and
its result names them. What goes wrong within it is in its result, too (see `tasks`): where the function raises, that
is a fault of the executor or of the installation, and no reason to try again.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self

Json = dict[str, Any]
Function = Callable[[Json], Json]
Pause = Callable[[], None]

MOST_ATTEMPTS = 3
"""How often a task is begun whose process is lost each time."""
TICK = 0.1
"""Seconds between two calls of `pause`, at the most."""


def job_of(function: Function, argument: Json) -> Json:
    """What a process is sent: names and JSON only, so that it uses its own code."""
    return {"function": f"{function.__module__}:{function.__qualname__}", "argument": argument}


def function_of(name: str) -> Function:
    """The function in the job that `job_of` gives."""
    module, _, function = name.partition(":")
    found: Function = getattr(importlib.import_module(module), function)
    return found


class ExecutorLost(Exception):
    """No task can be run any more, or one of them was lost too often. The message is one sentence, without an end."""


class Executor(Protocol):
    """Processes for tasks, as long as the block of its `with` lasts; nothing of it outlives that.

    Attributes:
        slots: how many tasks run at a time.
    """

    slots: int

    def __enter__(self) -> Self:
        """Connect or start. Raises `ExecutorLost`."""
        ...

    def __exit__(self, *_: object) -> None:
        """Cancel what is left, and disconnect or end the processes."""
        ...

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        """The results in the order of the arguments, a bounded number of tasks at a time.

        An argument is asked for when its task is handed out, again where that is begun again.
        `pause` is called at least every `TICK` seconds and may raise. Whatever ends the iteration, also that nobody
        asks for more, all tasks of this call have been cancelled before it leaves here. A task whose process dies is
        begun again, up to `MOST_ATTEMPTS` times. Raises `ExecutorLost`.
        """
        ...
