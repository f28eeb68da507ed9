"""Conversion of the state's rows to runs."""

import orjson

from lume_local._runs.sql.operation import Row
from lume_local._runs.store.records import StoredRun

RUN_COLUMNS = (
    "seq, run_id, rev, flow_version, source_path, source_key, run_metadata, force_rerun, status, created_at, "
    "started_at, finished_at, stages, metrics, target_locations, error_message, submitted_by, arrival, "
    "purged > 0 AS is_compact, coalesce((SELECT seeds FROM seeds WHERE seeds.run_id = runs.run_id), '{}') AS seeds"
)
JSON_COLUMNS = ("run_metadata", "stages", "metrics", "target_locations", "seeds")


def stored_run(row: Row) -> StoredRun:
    """Convert a row with `RUN_COLUMNS` to its run."""
    values = dict(row)
    for name in JSON_COLUMNS:
        values[name] = orjson.loads(values[name])
    for name in ("force_rerun", "is_compact"):
        values[name] = bool(values[name])
    return StoredRun(**values)
