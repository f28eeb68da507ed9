"""The tasks of a run over shards, by name, and the interface that has them done.

A failure of a task is its result: an engine restarts a task only if its process was lost.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import duckdb

from lume_local._worker.shards.shard_tasks import stage, take_in, whole
from lume_local._worker.shards.split import look
from lume_local._worker.shards.staged import build, find_twins, measure
from lume_local._worker.sources.places.held import changed, moved, named
from lume_local._worker.sources.source import Pause, SourceError

Json = dict[str, Any]
_FUNCTIONS: dict[str, Callable[[Json], Json]] = {
    "look": look,
    "take_in": take_in,
    "stage": stage,
    "find_twins": find_twins,
    "measure": measure,
    "build": build,
    "whole": whole,
}


class Made(Sequence[Json]):
    """Arguments created on demand: all at once may not fit into memory.

    Args:
        count: their number.
        make: returns the argument with a number, always the same one.
    """

    def __init__(self, count: int, make: Callable[[int], Json]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._make(number)


class Tasks(Protocol):
    """Has tasks done; `pause` is called often, and raises if the run is to stop."""

    pause: Pause

    @property
    def slots(self) -> int:
        """The number of concurrent tasks."""
        ...

    def do(self, task: str, arguments: Sequence[Json]) -> Generator[Json]:
        """Yield the results in the order of the arguments. Raises the error of the first task that fails."""
        ...


def perform(task: str, argument: Json) -> Json:
    """Do a task; return its result for `value_of`."""
    try:
        return {"value": _FUNCTIONS[task](argument)}
    except SourceError as error:
        return {"failed": "source", "message": str(error), "may_pass": error.may_pass}
    except duckdb.Error as error:
        if path := moved(error):
            return {"failed": "source", "message": str(changed(path))}
        return {"failed": "duckdb", "kind": type(error).__name__, "message": named(str(error))}
    except OSError as error:
        where = named(str(error.filename)) if error.filename else None
        return {"failed": "os", "arguments": [error.errno, error.strerror or str(error), where]}


def value_of(result: Json) -> Json:
    """Return the value of a task. Raises the task's error."""
    match result.get("failed"):
        case "source":
            raise SourceError(result["message"], may_pass=result.get("may_pass", False))
        case "duckdb":
            raise getattr(duckdb, result["kind"], duckdb.Error)(result["message"])
        case "os":
            raise OSError(*result["arguments"])
    value: Json = result["value"]
    return value
