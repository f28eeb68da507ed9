"""What does a journal cost an item: bytes of its file, and time when a batch that has ended is begun again?

`ITEMS=1000000` for a million; by default 50,000. Nothing is sent: every outcome is in the journal.
"""

import asyncio
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _bench import header

import lume_async
import lume_sync
from lume_async import RunRequest
from lume_async._batch.journal import Journal
from lume_async.testing import fake_client

ITEMS = int(os.environ.get("ITEMS", "50000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
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


def fill(path: Path, described: Callable[[int, str], dict[str, Any]]) -> None:
    """As a batch fills it, with a hundred runs at a time; without its flushes, which would take hours."""
    journal = Journal.open(path)
    journal._connection.execute("PRAGMA synchronous = OFF")
    journal._connection.execute("BEGIN")
    for begun in range(0, ITEMS, 100):
        items = range(begun, min(begun + 100, ITEMS))
        runs = {item: f"run_{uuid.UUID(int=rng.getrandbits(128)).hex}" for item in items}
        for item in items:
            key = uuid.UUID(int=rng.getrandbits(128)).hex
            journal.sending(item, request(item), key, 1_760_000_000 + item * 0.4, by_server=True)
        for item in items:
            journal.submitted(item, runs[item], reused=False)
        for item in rng.sample(items, len(items)):
            journal.ended(item, described(item, runs[item]))
    journal.complete(ITEMS)
    journal._connection.execute("COMMIT")
    journal.close()


async def resume(path: Path, requests: list[RunRequest]) -> float:
    client, _ = fake_client([])
    count, begun = 0, time.perf_counter()
    async for _outcome in client.run_many(requests, journal=path):
        count += 1
    took = time.perf_counter() - begun
    assert count == ITEMS
    return took / ITEMS


async def resume_with_summary(path: Path, requests: list[RunRequest]) -> float:
    client, _ = fake_client([])
    begun = time.perf_counter()
    summary = lume_async.Summary()
    async for outcome in client.run_many(requests, journal=path):
        summary.add(outcome)
    took = time.perf_counter() - begun
    assert summary.remembered == ITEMS
    return took / ITEMS


def resume_in_sync(path: Path, requests: list[RunRequest]) -> float:
    with lume_sync.Client("key", base_url="http://lume.test", proxy=False) as client:
        begun = time.perf_counter()
        count = sum(1 for _ in client.run_many(requests, journal=path))
        took = time.perf_counter() - begun
    assert count == ITEMS
    return took / ITEMS


CONTESTANTS: dict[str, Callable[[Path, list[RunRequest]], float]] = {
    "lume_async": lambda path, requests: asyncio.run(resume(path, requests)),
    "lume_async, with a Summary": lambda path, requests: asyncio.run(resume_with_summary(path, requests)),
    "lume_sync": resume_in_sync,
}


def main() -> None:
    header("aiohttp", "orjson")
    print(f"\n{ITEMS:,} items")
    requests = [request(n) for n in range(ITEMS)]
    with tempfile.TemporaryDirectory() as folder:
        for name, described in {"runs of lume_local": ended, "runs of few words": small}.items():
            path = Path(folder, f"{described.__name__}.db")
            fill(path, described)
            print(f"\n{name}: {path.stat().st_size / ITEMS:.0f} bytes an item")
            begun = time.perf_counter()
            Journal.open(path).close()
            print(f"  opened in {time.perf_counter() - begun:.2f} s")
            for what, work in CONTESTANTS.items():
                cpu = time.process_time()
                took = [work(path, requests) for _ in range(ROUNDS)]
                cpu = (time.process_time() - cpu) / ROUNDS / ITEMS
                print(
                    f"  begun again, {what:28} {statistics.median(took) * 1e6:6.1f} µs an item, at best "
                    f"{min(took) * 1e6:5.1f}, CPU {cpu * 1e6:5.1f}"
                )


if __name__ == "__main__":
    main()
