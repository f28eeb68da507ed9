"""Runs that never ran, written straight into a state file: 100,000 of them in a few seconds."""

import json
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lume_local._runs.times import as_text

ENDS = ["SUCCEEDED"] * 6 + ["PARTIAL_FAILED"] * 3 + ["FAILED", "CRASHED", "CANCELLED"]
_EVERY = timedelta(seconds=6)
_COLUMNS = (
    "run_id, rev, flow_version, source_path, source_key, run_metadata, force_rerun, status, created_at, "
    "started_at, finished_at, stages, metrics, target_locations"
)


def add_runs(path: Path, count: int) -> None:
    """Add runs that have ended, one each six seconds until now; the same ones each time."""
    chance, now = random.Random(1), datetime.now(UTC)
    rows = [_row(number, chance, now - _EVERY * (count - number)) for number in range(count)]
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            f"INSERT INTO runs ({_COLUMNS}) VALUES (?,1,?,?,?,'null',0,?,?,?,?,'[]',?,'{{}}')", rows
        )
        db.execute("COMMIT")
    finally:
        db.close()


def _row(number: int, chance: random.Random, moment: datetime) -> tuple[Any, ...]:
    status, source = chance.choice(ENDS), f"in/batch-{number}.csv"
    rejected = chance.randrange(100) if status == "PARTIAL_FAILED" else 0
    metrics = {
        "rows_read": 1000,
        "rows_mapped": 1000 - rejected,
        "rows_rejected": rejected,
        "reject_reasons": {"email: is not an email address": rejected} if rejected else {},
    }
    created, begun, ended = (as_text(moment + timedelta(seconds=after)) for after in (0, 0.2, 2.5))
    flow = f"flow{number % 7}:v{number % 3 + 1}"
    return (
        f"run_{number:032x}",
        flow,
        source,
        f"/{source}",
        status,
        created,
        begun,
        ended,
        json.dumps(metrics),
    )
