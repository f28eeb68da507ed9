"""Code that the cluster executors share: the call on a worker, its answer, and error messages."""

import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from lume_local._shards.executor import ExecutorLost, Json, function_of, shown

START = 30.0
"""Seconds that a cluster may take to accept the server."""
PATIENCE = 60.0
"""Seconds that a cluster may go without an answer or a worker while a result is awaited."""
_CONNECT = 10.0
_LOOK = 5.0
"""Seconds between two checks of the cluster."""
_CAUSE = re.compile(r"^: [\w.$]+(?:Exception|Error): (.*)", re.MULTILINE)
"""Java's error inside one of Py4J, whose first line only says that there was an error."""
_MISSING = re.compile(r"No module named '([\w.]+)'")
_AT = re.compile(r"\(TID \d+\) \((\S+ executor \S+)\)|\bip=([\d.]+)")


def address(url: str, port: int) -> tuple[str, int]:
    """Return the host and port of an engine. Raises `ExecutorLost` if nothing listens there."""
    parts = urlsplit(url)
    try:
        place = parts.hostname or "localhost", parts.port or port
        with socket.create_connection(place, timeout=_CONNECT):
            return place
    except (OSError, ValueError) as error:
        raise lost(url, "can't be reached", error) from error


def lost(url: str, what: str, error: BaseException | None = None) -> ExecutorLost:
    """Return the error for a cluster, with only the first line of its own error, which may be long."""
    why = "" if error is None else f": {_first_line(error)}"
    return ExecutorLost(f"the engine {shown(url)} {what}{why}")


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    line = cause[1] if (cause := _CAUSE.search(text)) else text.partition("\n")[0]
    return line[:500] or type(error).__name__


def call(job: Json) -> Json:
    """Return, on a worker, the task's `result`, or the `error` that prevented it."""
    worker = job.get("worker") or f"{socket.gethostname()} (process {os.getpid()})"
    try:
        return {"result": function_of(job["function"])(job["argument"])}
    except Exception as error:
        return {"error": f"the worker {worker} can't do its task: {type(error).__name__}: {error}"}


def result_of(url: str, answer: Json) -> Json:
    """Return the result in an answer of `call`. Raises `ExecutorLost` if it is an error."""
    if "error" in answer:
        raise ExecutorLost(f"the engine {shown(url)}: {answer['error']}")
    result: Json = answer["result"]
    return result


def failed(url: str, error: Exception) -> ExecutorLost:
    """Return the error for an engine's exception; most often a worker could not even import the task."""
    text = str(error)
    if (module := _MISSING.search(text)) is None:
        return lost(url, "failed", error)
    worker = at[1] or at[2] if (at := _AT.search(text)) else "that had the task"
    return ExecutorLost(
        f"the engine {shown(url)}: the worker {worker} has no {module[1]}: install lume-local "
        "there, in the version that this server has"
    )


class Presence:
    """Whether a cluster still has workers, checked every few seconds while a result is awaited.

    Args:
        count: returns the current number of slots; may raise if the cluster doesn't answer.
    """

    def __init__(self, url: str, count: Callable[[], int]) -> None:
        self._url, self._count = url, count
        self._looked = self._served = time.monotonic()

    def slots(self) -> int:
        """Return the current number of slots, at least 1: more may come. Raises `ExecutorLost` as `check` does."""
        self._looked = self._served = time.monotonic()
        return max(self._look(), 1)

    def check(self) -> None:
        """Raise `ExecutorLost` if there has been no worker, or no answer, for too long."""
        if time.monotonic() > self._looked + _LOOK:
            self._look()

    def _look(self) -> int:
        why, found = "has had no worker", 0
        try:
            found = self._count()
        except Exception as error:  # engines have no common exception class
            why = f"has not answered ({_first_line(error)})"
        self._looked = time.monotonic()
        if found:
            self._served = self._looked
        elif self._looked > self._served + PATIENCE:
            raise lost(self._url, f"{why} for {PATIENCE:g} s")
        return found


Handle = TypeVar("Handle")

_PER_SLOT = 4
"""Tasks in flight for each slot, so that a slow first task doesn't leave the others idle."""


def in_order(
    arguments: Sequence[Json],
    slots: int,
    submit: Callable[[Json], Handle],
    take: Callable[[Handle], Json],
    cancel: Callable[[list[Handle]], None],
) -> Generator[Json]:
    """Yield the results in the order of the arguments; on any exit, cancel the submitted tasks not yet taken."""
    flying: deque[Handle] = deque()
    try:
        for argument in arguments:
            if len(flying) >= _PER_SLOT * max(slots, 1):
                yield take(flying[0])
                flying.popleft()
            flying.append(submit(argument))
        while flying:
            yield take(flying[0])
            flying.popleft()
    finally:
        cancel(list(flying))
