"""A run that is smaller than a shard, as one task: all of it but the targets, which are the server's to publish."""

from pathlib import Path
from typing import Any

from attrs import evolve

from lume_local._shards.folders import made_below
from lume_local._shared.protocol import Execute
from lume_local._worker.engine import Run, RunBroke, RunFailed, connect
from lume_local._worker.rejects import Rejects
from lume_local._worker.statements import Statements


def whole(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: the metrics of a run and the files of its targets, or why it has failed."""
    job = Execute(**argument["job"])
    folder = made_below(Path(job.folder), "whole")
    with connect() as connection:
        try:
            return _Whole(connection, evolve(job, folder=str(folder)), _enter).execute()
        except RunFailed as error:
            return {"message": str(error), "metrics": error.metrics, "broke": isinstance(error, RunBroke)}


def built_by(result: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Metrics and files of a result. Raises `RunFailed`."""
    if "message" in result:
        raise (RunBroke if result["broke"] else RunFailed)(result["message"], result["metrics"])
    return result["metrics"], result["built"]


def _enter(stage: str, rows: int | None) -> None:
    """The server knows that the task runs, and no more."""


class _Whole(Run):
    """See `Run`."""

    def _check_targets(self) -> None:
        """The server has done that: a database is reached from there only."""

    def _commit(self, statements: Statements, metrics: dict[str, Any], rejects: Rejects) -> dict[str, Any]:
        built = {
            part: str(self._build(part, target, statements, metrics, rejects))
            for part, target in self._targets.items()
            if part == "mapped" or metrics["rows_rejected"]
        }
        return {"metrics": metrics, "built": built}
