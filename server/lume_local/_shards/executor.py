"""The protocol of an executor, which runs tasks in processes, and the executors by their URLs. A new one is a file in
`engines`, and a line in `_KINDS`.

A task is a function of a module that takes one JSON object and returns another. It may run again after its process
was lost, even while the lost one is still working. So it writes only below folders that it makes itself, and its
result names them. Its result also reports failures (see `coordinator`): an exception is a fault of the executor or of
the installation, and is not retried.
"""

import importlib
import os
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, Self

from lume_local._shared.failing import require

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
    """Tasks can no longer run, or one was lost too often. The message is one sentence, without its full stop."""


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

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Generator[Json]:
        """Yield the results in the order of the arguments, with a bounded number of tasks at a time.

        An argument is requested when its task is handed out, and again if the task restarts.
        `pause` is called at least every `TICK` seconds and may raise. However the iteration ends, even if it is
        closed early, all its tasks are cancelled before this returns. A task whose process dies restarts, up to
        `MOST_ATTEMPTS` attempts. Raises `ExecutorLost`.
        """
        ...


_KINDS = {
    "pool": ("pool", "Pool", None),
    "dask": ("dask", "Dask", "distributed"),
    "spark": ("spark", "Spark", "pyspark"),
    "spark-local": ("spark", "Spark", "pyspark"),
    "sc": ("spark", "Spark", "pyspark"),
    "ray": ("ray", "Ray", "ray"),
    "broker": ("broker", "Brokered", None),
}
"""Scheme -> the file in `engines`, its class, and the module that it needs (in the extra named like the file).

Each is imported on first use because it may need an extra.
"""
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<place>[^/?#;]*)(?P<more>.*)", re.DOTALL)


class UnknownEngine(ValueError):
    """There is no such executor. The message lists the existing ones."""


def check_engine(url: str) -> None:
    """Check that a URL names a usable executor. Raises `UnknownEngine`, `ModuleNotFoundError`."""
    scheme = url.partition("://")[0]
    if scheme not in _KINDS:
        raise UnknownEngine(
            f"no engine {shown(url)!r}: expected pool, pool://4, dask://…, spark://…, sc://… or ray://…"
        )
    if scheme == "pool":
        _size(url)
    name, _, module = _KINDS[scheme]
    if module is not None:
        require(module, name, f"the engine {scheme}")


def kind_of(url: str) -> str:
    return _KINDS[url.partition("://")[0]][0]


def executor_of(url: str) -> Executor:
    """Return the executor for a URL; it starts when entered. Raises as `check_engine` does."""
    check_engine(url)
    name, kind, _ = _KINDS[url.partition("://")[0]]
    made = getattr(importlib.import_module(f"lume_local._shards.engines.{name}"), kind)
    executor: Executor = made(_size(url)) if name == "pool" else made(url)
    return executor


def _size(url: str) -> int:
    """Return the number of processes of a pool: the one in its URL, or one per core available to this process."""
    said = url.partition("://")[2].rstrip("/")
    if not said:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not said.isdecimal() or not 1 <= int(said) <= 1024:
        raise UnknownEngine(
            f"the engine {shown(url)!r} must say a number of processes and nothing else, such as pool://4"
        )
    return int(said)


def shown(url: str) -> str:
    """Return the URL for messages, without token, user or password, even if it is malformed."""
    match = _URL.fullmatch(url)
    assert match is not None, "it takes any text"
    # A later @ may follow a password that contains a slash, or be part of a token.
    place = "…" if "@" in match["more"] else match["place"].rpartition("@")[2]
    return (match["scheme"] or "") + place


def is_cluster(url: str) -> bool:
    """Return whether the server shares one connection to it, instead of each run having its own processes."""
    return url.partition("://")[0] not in ("pool", "broker")
