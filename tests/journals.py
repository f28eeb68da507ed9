"""Journals of batches that have ended, of any size, without the batch."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lume_async import RunRequest
from lume_async._batch.journal import Journal

STAGES = ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")
rng = random.Random(1)


def request(n: int) -> RunRequest:
    return RunRequest("customer_cleaner:v1", f"batches/2026/{n:07}.csv", {"batch": n})


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def ended(n: int, run_id: str) -> dict[str, Any]:
    """A run as `lume_local` describes it."""
    times = [1_760_000_000 + n * 0.4 + rng.random()]
    for _ in range(4):
        times.append(times[-1] + rng.random())
    rows = rng.randrange(10_000)
    run = {
        "status": "SUCCEEDED",
        "flow_version": "customer_cleaner:v1",
        "source_path": f"batches/2026/{n:07}.csv",
        "run_metadata": {"batch": n},
        "force_rerun": False,
        "created_at": stamp(times[0]),
        "started_at": stamp(times[1]),
        "finished_at": stamp(times[4]),
    }
    stages = [
        {
            "name": name,
            "started_at": stamp(times[k + 1]),
            "finished_at": stamp(times[k + 2]),
            "rows": rows if k else None,
            "duration_seconds": round(times[k + 2] - times[k + 1], 6),
        }
        for k, name in enumerate(STAGES)
    ]
    counts = {
        "rows_read": rows,
        "rows_mapped": rows,
        "rows_rejected": 0,
        "reject_reasons": {},
        "warnings": {},
    }
    mapped = f"/srv/lume/out/customer_cleaner/v1/{run_id}/mapped.parquet"
    metadata = {
        "run": {"run_id": run_id, **run, "duration_seconds": round(times[4] - times[1], 6)},
        "stages": stages,
        "metrics": {**counts, "source": {"bytes": rows * 71, "lines": rows + 1, "records": rows}},
        "target_locations": {"mapped": mapped, "rejects": None},
        "error_message": None,
    }
    return {"id": run_id, **run, "progress": 1.0, "metadata": metadata}


def small(n: int, run_id: str) -> dict[str, Any]:
    """A run of a server that says little."""
    at = 1_760_000_000 + n * 0.4 + rng.random()
    what = {"source_path": f"batches/2026/{n:07}.csv", "run_metadata": {"batch": n}}
    run = {"id": run_id, "status": "SUCCEEDED", **what}
    counts = {"rows_read": 10, "rows_mapped": 10, "rows_rejected": 0, "reject_reasons": {}}
    return {**run, "created_at": stamp(at), "finished_at": stamp(at + 1), "metadata": {"metrics": counts}}


def fill(path: Path, count: int, described: Callable[[int, str], dict[str, Any]]) -> None:
    """As a batch fills it, with a hundred runs at a time; without its flushes, which would take hours."""
    journal = Journal.open(path)
    journal._connection.execute("PRAGMA synchronous = OFF")
    journal._connection.execute("BEGIN")
    for begun in range(0, count, 100):
        items = range(begun, min(begun + 100, count))
        runs = {item: f"run_{uuid.UUID(int=rng.getrandbits(128)).hex}" for item in items}
        for item in items:
            key = uuid.UUID(int=rng.getrandbits(128)).hex
            journal.sending(item, request(item), key, 1_760_000_000 + item * 0.4, by_server=True)
        for item in items:
            journal.submitted(item, runs[item], reused=False)
        for item in rng.sample(items, len(items)):
            journal.ended(item, described(item, runs[item]))
    journal.complete(count)
    journal._connection.execute("COMMIT")
    journal.close()
