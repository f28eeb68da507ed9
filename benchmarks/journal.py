"""What does a journal cost an item: bytes of its file, and time when a batch that has ended is begun again?

`ITEMS=1000000` for a million; by default 50,000. Nothing is sent: every outcome is in the journal.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from journals import ended, fill, request, small

import lume_async
import lume_sync
from benchmarks._bench import header
from lume_async import RunRequest
from lume_async._batch.journal import Journal
from lume_async.testing import fake_client

ITEMS = int(os.environ.get("ITEMS", "50000"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))


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
            fill(path, ITEMS, described)
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
