"""A journal of a million items, bytes and CPU time of each, and nothing sent: `./scripts/soak journal`.

SOAK_ITEMS chooses another number.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from journals import ended, fill, request, small

from lume_async import Summary
from lume_async.testing import fake_client

ITEMS = int(os.environ.get("SOAK_ITEMS", "1000000"))
pytestmark = pytest.mark.timeout(3600)


async def summary_of(path: Path) -> Summary:
    client, transport = fake_client([])
    summary = Summary()
    async for outcome in client.run_many((request(item) for item in range(ITEMS)), journal=path):
        summary.add(outcome)
    assert not transport.requests
    return summary


@pytest.mark.parametrize(("described", "most_bytes"), [(ended, 300), (small, 170)])
def test_a_million_ended_items(
    tmp_path: Path, described: Callable[[int, str], dict[str, Any]], most_bytes: int
) -> None:
    path = tmp_path / "journal.db"
    fill(path, ITEMS, described)
    size = path.stat().st_size / ITEMS
    begun, cpu = time.perf_counter(), time.process_time()
    summary = asyncio.run(summary_of(path))
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(
        f"\n{ITEMS:,} items: {size:.0f} bytes and {cpu / ITEMS * 1e6:.1f} µs of CPU an item, {took:.1f} s altogether"
    )
    assert summary.remembered == ITEMS
    assert size <= most_bytes
    assert cpu / ITEMS < 60e-6
