"""A run over shards, on the engine that its job names, and its tasks there.

A process with another DuckDB or another `lume_local` could produce other rows, so it does no task.
"""

import hashlib
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lume_local._shards.executor import Executor, ExecutorLost, Json, Pause, executor_of
from lume_local._worker.engine import RunBroke
from lume_local._worker.shards import sharded, tasks
from lume_local._worker.shards.tasks import Made
from lume_local._worker.steps import Context


def execute(context: Context) -> dict[str, Any]:
    """Execute a run whose job has an engine; see `Run.execute`."""

    @contextmanager
    def connected() -> Iterator[ExecutorTasks]:
        assert context.job.engine is not None
        with executor_of(context.job.engine["url"]) as executor:
            yield ExecutorTasks(executor, context.pause)

    try:
        return sharded.execute(context, connected)
    except ExecutorLost as error:
        raise RunBroke(f"{error}. Nothing was written: submit the run again") from None


@cache
def versions() -> dict[str, str]:
    """Return the versions that all processes of a run must share."""
    home, digest = Path(__file__).parents[1], hashlib.sha256()
    for wing in ("_flow", "_shared", "_shards", "_worker"):
        for path in sorted((home / wing).rglob("*.py")):
            digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return {"duckdb": duckdb.__version__, "lume_local": digest.hexdigest()[:12]}


def perform(call: Json) -> Json:
    """Do a task: `{"task": …, "argument": …, "versions": …}`."""
    if (mine := versions()) != call["versions"]:
        return {"failed": "versions", "where": f"{socket.gethostname()} (process {os.getpid()})", "has": mine}
    return tasks.perform(call["task"], call["argument"])


class ExecutorTasks:
    """See `Tasks`. Also raises `ExecutorLost`."""

    def __init__(self, executor: Executor, pause: Pause) -> None:
        self._executor, self.pause = executor, pause

    @property
    def slots(self) -> int:
        return self._executor.slots

    def do(self, task: str, arguments: Sequence[Json]) -> Generator[Json]:
        call = {"task": task, "versions": versions()}
        calls = Made(len(arguments), lambda number: call | {"argument": arguments[number]})
        with closing(self._executor.map(perform, calls, self.pause)) as results:
            for result in results:
                if result.get("failed") == "versions":
                    raise ExecutorLost(other_versions(result))
                yield tasks.value_of(result)


def other_versions(result: Json) -> str:
    """Describe the worker with other versions, and these."""
    mine, has = versions(), result["has"]
    if has["duckdb"] != mine["duckdb"]:
        what = f"DuckDB {has['duckdb']}, and this server has {mine['duckdb']}"
    else:
        what = f"another lume_local ({has['lume_local']}) than this server ({mine['lume_local']})"
    return f"the worker on {result['where']} has {what}: install the same versions on all machines"
