"""Stored rows as the JSON of the wire contract. Pure."""

import shlex
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from attrs import asdict

from lume_local._flow.definition import BOUNDS, LENGTHS, Column, Flow
from lume_local._runs.store.records import (
    VARIABLE,
    WITH_OUTPUT,
    Attempted,
    FollowUp,
    StatusChange,
    StoredFlow,
    StoredRun,
)
from lume_local._runs.times import as_text, seconds_between

if TYPE_CHECKING:
    from lume_local._runs.dry_run import DryRunResult


def run_document(
    run: StoredRun, progress: float | None = None, follow_up: FollowUp | None = None
) -> dict[str, Any]:
    """Return a run as in the contract. `progress` is for active runs; an ended run's follows from its status."""
    beside = asdict(follow_up) if follow_up else {}
    if run.is_compact:
        beside["notes"] = (*beside.get("notes", ()), COMPACT)
    known = {  # one by one: a list may have a thousand runs
        "status": run.status,
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "run_metadata": run.run_metadata,
        "force_rerun": run.force_rerun,
        "submitted_by": run.submitted_by,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
    if run.seeds:
        known["seeds"] = run.seeds
    if run.layout:
        known["layout"] = run.layout
    return {
        "id": run.run_id,
        **known,
        "progress": 1.0 if run.status in WITH_OUTPUT else (progress or 0.0),
        "metadata": {
            "run": {
                "run_id": run.run_id,
                **known,
                "duration_seconds": seconds_between(run.started_at, run.finished_at),
            },
            "stages": [
                {**stage, "duration_seconds": seconds_between(stage["started_at"], stage["finished_at"])}
                for stage in run.stages
            ],
            "metrics": _NO_METRICS | run.metrics,
            "target_locations": {"mapped": None, "rejects": None} | run.target_locations,
            "error_message": error_of(run, (beside.get("arrival") or {}).get("lies_at")),
            **{name: value for name, value in beside.items() if value},
        },
    }


def error_of(run: StoredRun, lies_at: str | None) -> str | None:
    """Return the error of a run; a command in it names the file where it lies now, if it was put aside."""
    told, command, rest = (run.error_message or "").rpartition(" lume flow map ")
    ref, _, path = rest.partition(" ")
    if lies_at and command:
        with suppress(ValueError):  # it was too long
            (path,) = shlex.split(path)
            if path.endswith(run.source_path):
                now = shlex.quote(path.removesuffix(run.source_path) + lies_at)
                return f"{told}{command}{ref} {now}"
    return run.error_message


COMPACT = "an old run: its stages and the statistics of its columns were removed (keep_runs)"
"""The note on a run in compact form."""


_NO_METRICS: dict[str, Any] = {
    "rows_read": 0,
    "rows_mapped": 0,
    "rows_rejected": 0,
    "reject_reasons": {},
    "warnings": {},
    "source": {"bytes": 0, "lines": 0, "records": 0},
    "columns": {},
}


def dry_run_document(done: "DryRunResult", notes: tuple[str, ...] = ()) -> dict[str, Any]:
    rows = {part: orjson.Fragment(done.rows.get(part, b"[]")) for part in ("mapped", "rejects")}
    return {**run_document(done.run, follow_up=FollowUp(notes)), "dry_run": True, "rows": rows}


def etag(run: StoredRun) -> str:
    """Return a weak tag: only `progress` may differ between two responses that share it."""
    return f'W/"{run.run_id}.{run.rev}"'


def change_document(change: StatusChange) -> dict[str, Any]:
    return {"id": change.run_id, "status": change.status, "finished_at": change.finished_at}


def delivery_document(delivery: Attempted) -> dict[str, Any]:
    """Return a webhook or a message. Only scheme and host of a URL are shown: the rest may contain secrets."""
    if delivery.url.startswith(VARIABLE):
        kind, receiver = "message", delivery.url.removeprefix(VARIABLE)
    else:
        url = urlsplit(delivery.url)
        kind, receiver = "webhook", f"{url.scheme}://{url.hostname}" + (f":{url.port}" if url.port else "")
    waits = None if delivery.due is None else as_text(datetime.fromtimestamp(delivery.due, UTC))
    return {
        "id": delivery.id,
        "state": "delivered" if delivery.delivered_at else "pending" if waits else "given_up",
        "kind": kind,
        "receiver": receiver,
        "attempts": delivery.attempts,
        "created_at": delivery.at,
        "next_attempt_at": waits,
        "delivered_at": delivery.delivered_at,
        "error": delivery.error,
    }


def flow_item(flow: StoredFlow, checked: Flow, runs: int) -> dict[str, Any]:
    """Return a flow version for a list: its columns with their SQL and constraints, and its rules."""
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
            _column(column, columns[column.name], has_layouts=bool(checked.layouts))
            for column in checked.columns
        ],
        "rules": [rule._asdict() for rule in checked.rules],
    }


def _column(column: Column, written: dict[str, Any], *, has_layouts: bool) -> dict[str, Any]:
    found = {name: getattr(column, name) for name in _OF_A_COLUMN}
    if has_layouts and written.keys().isdisjoint({"sql", "from"}):
        del found["sql"]  # NULL, for the layouts that don't read it either
    return found | {"constraints": {key: one for key, one in written.items() if key in _CONSTRAINTS}}


_OF_A_COLUMN = ("name", "sql", "type", "sql_type", "required", "unique")
_CONSTRAINTS = {"format", "enum", "pattern", *BOUNDS, *LENGTHS}
