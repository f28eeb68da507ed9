"""A run over shards, on the engine that its job names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lume_local._shards.engines.executors import executor_of
from lume_local._shards.executor import ExecutorLost
from lume_local._shards.tasks import ExecutorTasks
from lume_local._worker.engine import RunBroke
from lume_local._worker.shards import sharded
from lume_local._worker.steps import Context


def execute(context: Context) -> dict[str, Any]:
    """Execute a run whose job has an engine; see `Run.execute`."""

    @contextmanager
    def tasks() -> Iterator[ExecutorTasks]:
        assert context.job.engine is not None
        with executor_of(context.job.engine["url"]) as executor:
            yield ExecutorTasks(executor, context.pause)

    try:
        return sharded.execute(context, tasks)
    except ExecutorLost as error:
        raise RunBroke(f"{error}. Nothing was written: submit the run again") from None
