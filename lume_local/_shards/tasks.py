"""The tasks of a run behind one function, which is all that executors call.

What goes wrong in a task is its result: an executor begins a task again only where its process was lost. A process
with another DuckDB or another `lume_local` would give other rows: it does no task.
"""

import hashlib
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lume_local._shards.executor import Executor, ExecutorLost, Function, Json, Made, Pause
from lume_local._shards.mapped import build, measure
from lume_local._shards.shard_tasks import stage, take_in
from lume_local._shards.split import look
from lume_local._shards.twins import find_twins
from lume_local._shards.whole import whole
from lume_local._worker.sources.places.held import changed, moved, named
from lume_local._worker.sources.source import SourceError

_FUNCTIONS: dict[str, Function] = {
    "look": look,
    "take_in": take_in,
    "stage": stage,
    "find_twins": find_twins,
    "measure": measure,
    "build": build,
    "whole": whole,
}
_WINGS = ("_flow", "_shared", "_shards", "_worker")


@cache
def versions() -> dict[str, str]:
    """What must be the same wherever rows of one run are made."""
    home, digest = Path(__file__).parents[1], hashlib.sha256()
    for wing in _WINGS:
        for path in sorted((home / wing).rglob("*.py")):
            digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return {"duckdb": duckdb.__version__, "lume_local": digest.hexdigest()[:12]}


def perform(call: Json) -> Json:
    """Do a task: `{"task": …, "argument": …, "versions": …}`."""
    if (mine := versions()) != call["versions"]:
        return {"failed": "versions", "where": f"{socket.gethostname()} (process {os.getpid()})", "has": mine}
    try:
        return {"value": _FUNCTIONS[call["task"]](call["argument"])}
    except SourceError as error:
        return {"failed": "source", "message": str(error)}
    except duckdb.Error as error:
        if path := moved(error):
            return {"failed": "source", "message": str(changed(path))}
        return {"failed": "duckdb", "kind": type(error).__name__, "message": named(str(error))}
    except OSError as error:
        where = named(str(error.filename)) if error.filename else None
        return {"failed": "os", "arguments": [error.errno, error.strerror or str(error), where]}


class Tasks:
    """Has tasks done.

    Args:
        executor: in its block.
        pause: is called often; raises where the run is to stop.
    """

    def __init__(self, executor: Executor, pause: Pause) -> None:
        self._executor, self.pause = executor, pause

    @property
    def slots(self) -> int:
        """How many run at a time."""
        return self._executor.slots

    def do(self, task: str, arguments: Sequence[Json]) -> Generator[Json]:
        """Their results, in this order. Raises what the first task that fails raised, and `ExecutorLost`."""
        call = {"task": task, "versions": versions()}
        calls = Made(len(arguments), lambda number: call | {"argument": arguments[number]})
        with closing(_closable(self._executor.map(perform, calls, self.pause))) as results:
            for result in results:
                yield _value(result)


def _closable(results: Iterator[Json]) -> Any:
    """A generator, also of an executor whose `map` is none."""
    yield from results


def _value(result: Json) -> Json:
    match result.get("failed"):
        case None:
            value: Json = result["value"]
            return value
        case "source":
            raise SourceError(result["message"])
        case "duckdb":
            raise getattr(duckdb, result["kind"], duckdb.Error)(result["message"])
        case "os":
            raise OSError(*result["arguments"])
        case _:
            raise ExecutorLost(other_versions(result))


def other_versions(result: Json) -> str:
    """Which worker has what."""
    mine, has = versions(), result["has"]
    if has["duckdb"] != mine["duckdb"]:
        what = f"DuckDB {has['duckdb']}, and this server has {mine['duckdb']}"
    else:
        what = f"another lume_local ({has['lume_local']}) than this server ({mine['lume_local']})"
    return f"the worker on {result['where']} has {what}: install the same versions on all machines"
