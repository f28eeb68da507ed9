"""Stored rows as the JSON of the wire contract. Pure."""

from typing import Any

from lume_async.models import RunStatus
from lume_local._runs.store import Change, Run
from lume_local._runs.times import seconds_between


def run_document(run: Run, progress: float | None = None) -> dict[str, Any]:
    """A run as the contract shows it. `progress` is that of an active run; ended ones know their own."""
    known = {
        "status": run.status,
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "run_metadata": run.run_metadata,
        "force_rerun": run.force_rerun,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
    return {
        "id": run.run_id,
        **known,
        "progress": 1.0 if RunStatus(run.status).has_output else (progress or 0.0),
        "metadata": {
            "run": {
                "run_id": run.run_id,
                **known,
                "duration_seconds": seconds_between(run.started_at, run.finished_at),
            },
            "stages": [_stage(stage) for stage in run.stages],
            "metrics": _NO_METRICS | run.metrics,
            "target_locations": {"mapped": None, "rejects": None} | run.target_locations,
            "error_message": run.error_message,
        },
    }


_NO_METRICS: dict[str, Any] = {
    "rows_read": 0,
    "rows_mapped": 0,
    "rows_rejected": 0,
    "reject_reasons": {},
    "warnings": {},
    "source": {"bytes": 0, "lines": 0, "records": 0},
}


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
    return {**stage, "duration_seconds": seconds_between(stage["started_at"], stage["finished_at"])}


def etag(run: Run) -> str:
    """Weak, since `progress` may differ between two answers with one tag; all else may not."""
    return f'W/"{run.run_id}.{run.rev}"'


def change_document(change: Change) -> dict[str, Any]:
    """One entry of the change feed."""
    return {"id": change.run_id, "status": change.status, "finished_at": change.finished_at}
