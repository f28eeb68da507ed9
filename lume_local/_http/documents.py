"""Stored rows as the JSON of the wire contract. Pure."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from lume_async.models import RunStatus
from lume_local._flow.definition import BOUNDS, LENGTHS, Flow
from lume_local._runs.dry_run import DryRun
from lume_local._runs.records import Attempted, Count, StatusChange, StoredFlow, StoredRun
from lume_local._runs.times import at_text, seconds_between


def run_document(run: StoredRun, progress: float | None = None, notes: Sequence[str] = ()) -> dict[str, Any]:
    """A run as in the contract. `progress` is for active runs; that of ended runs follows from their status."""
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
            **({"notes": list(notes)} if notes else {}),
        },
    }


_NO_METRICS: dict[str, Any] = {
    "rows_read": 0,
    "rows_mapped": 0,
    "rows_rejected": 0,
    "reject_reasons": {},
    "warnings": {},
    "source": {"bytes": 0, "lines": 0, "records": 0},
    "columns": {},
}


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
    return {**stage, "duration_seconds": seconds_between(stage["started_at"], stage["finished_at"])}


def dry_run_document(done: DryRun, notes: Sequence[str]) -> dict[str, Any]:
    """The result of a dry run, with its rows."""
    rows = {part: orjson.Fragment(done.rows.get(part, "[]")) for part in ("mapped", "rejects")}
    return {**run_document(done.run, notes=notes), "dry_run": True, "rows": rows}


def etag(run: StoredRun) -> str:
    """Weak, since only `progress` may differ between two responses with the same tag."""
    return f'W/"{run.run_id}.{run.rev}"'


def change_document(change: StatusChange) -> dict[str, Any]:
    """One entry of the change feed."""
    return {"id": change.run_id, "status": change.status, "finished_at": change.finished_at}


def delivery_document(delivery: Attempted) -> dict[str, Any]:
    """A delivery. Of its URL only scheme and host: the rest may contain secrets."""
    place = urlsplit(delivery.url)
    waits = None if delivery.due is None else at_text(delivery.due)
    return {
        "id": delivery.id,
        "state": "delivered" if delivery.delivered_at else "pending" if waits else "given_up",
        "receiver": f"{place.scheme}://{place.hostname}" + (f":{place.port}" if place.port else ""),
        "attempts": delivery.attempts,
        "created_at": delivery.at,
        "next_attempt_at": waits,
        "delivered_at": delivery.delivered_at,
        "error": delivery.error,
    }


def count_document(count: Count) -> dict[str, Any]:
    """A group of runs and its counts."""
    rows = {"rows_read": count.rows_read, "rows_rejected": count.rows_rejected}
    return {**count.of, "runs": count.runs, **rows}


def flow_document(flow: StoredFlow) -> dict[str, Any]:
    """A flow version with its whole definition."""
    return {
        "flow_version": flow.ref,
        "content_hash": flow.content_hash,
        "created_at": flow.created_at,
        "definition": flow.definition,
    }


def flow_item(flow: StoredFlow, checked: Flow, runs: int) -> dict[str, Any]:
    """A flow version in a list: its columns with their SQL and constraints, and its rules."""
    columns: dict[str, dict[str, Any]] = flow.definition["columns"]
    return {
        "flow_version": flow.ref,
        "flow": checked.name,
        "version": checked.version,
        "description": flow.definition.get("description"),
        "content_hash": flow.content_hash,
        "created_at": flow.created_at,
        "runs": runs,
        "columns": [
            {
                "name": column.name,
                "sql": column.sql,
                "type": column.type,
                "sql_type": column.sql_type,
                "required": column.required,
                "unique": column.unique,
                "constraints": {
                    key: value for key, value in columns[column.name].items() if key in _CONSTRAINTS
                },
            }
            for column in checked.columns
        ],
        "rules": [
            {"name": rule.name, "sql": rule.sql, "message": rule.message, "on_fail": rule.on_fail}
            for rule in checked.rules
        ],
    }


_CONSTRAINTS = {"format", "enum", "pattern", *BOUNDS, *LENGTHS}
