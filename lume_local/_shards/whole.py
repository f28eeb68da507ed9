"""A run that is smaller than a shard, as one task: all of it except the targets, which the server publishes."""

from pathlib import Path
from typing import Any

from attrs import evolve

from lume_local._shards.access import new_folder
from lume_local._shared.protocol import Execute
from lume_local._worker.connection import connect
from lume_local._worker.engine import Run, RunBroke, RunFailed, attempt, begin_source
from lume_local._worker.one_process import OneProcess
from lume_local._worker.steps import Context


def whole(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: the metrics of a run and the files of its targets, or why it has failed."""
    job = Execute(**argument["job"])
    job = evolve(job, folder=str(new_folder(Path(job.folder), "whole")))
    with connect() as connection:
        context = Context(connection, job, _enter)
        steps = OneProcess(context)
        try:
            with attempt(context):
                begin_source(context)  # not the targets: only the server reaches a database
                judged = Run(context, steps).judge()
                built = {
                    part: str(steps.build(part, judged))
                    for part in context.targets
                    if part == "mapped" or judged.metrics["rows_rejected"]
                }
                return {"metrics": judged.metrics, "built": built}
        except RunFailed as error:
            return {"message": str(error), "metrics": error.metrics, "broke": isinstance(error, RunBroke)}


def _enter(stage: str, rows: int | None) -> None:
    """The server knows that the task runs, and no more."""
