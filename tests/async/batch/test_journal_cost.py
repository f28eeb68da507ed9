"""What a journal of many items costs, by counts that are the same on every machine: bytes, wake-ups, memory.

`./scripts/soak journal` does the same with a million items.
"""

import asyncio
import math
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from journals import ended, fill, request, small

from lume_async import RunRequest
from lume_async._batch.journal import AHEAD
from lume_async.testing import fake_client

FEW, MANY = 2 * AHEAD, 8 * AHEAD


@dataclass
class Cost:
    """Of a batch that is begun again after all its items have ended."""

    outcomes: int = 0
    callbacks: int = 0
    tasks: int = 0
    peak: int = 0


async def replay(path: Path, count: int, *, traced: bool = False) -> Cost:
    cost, loop = Cost(), asyncio.get_running_loop()
    client, transport = fake_client([])
    schedule = loop.call_soon

    def counted(*arguments: Any, **named: Any) -> asyncio.Handle:
        cost.callbacks += 1
        return schedule(*arguments, **named)

    def task(loop: asyncio.AbstractEventLoop, work: Any, **named: Any) -> asyncio.Task[Any]:
        cost.tasks += 1
        return asyncio.Task(work, loop=loop, **named)

    def requests() -> Iterator[RunRequest]:
        return (request(item) for item in range(count))

    loop.set_task_factory(task)
    loop.call_soon = counted  # type: ignore[method-assign, assignment]
    if traced:
        tracemalloc.start()
    async for outcome in client.run_many(requests(), journal=path):
        assert outcome.remembered
        cost.outcomes += 1
    if traced:
        cost.peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not transport.requests
    return cost


@pytest.mark.parametrize(("described", "most"), [(ended, 320), (small, 180)])
def test_an_item_takes_few_bytes_however_many_there_are(
    tmp_path: Path, described: Callable[[int, str], dict[str, Any]], most: int
) -> None:
    sizes = []
    for count in (FEW, MANY):
        path = tmp_path / f"{count}.db"
        fill(path, count, described)
        sizes.append(path.stat().st_size / count)
    assert sizes[1] <= min(most, 1.05 * sizes[0])


@pytest.mark.thorough
def test_ended_items_wake_nobody(tmp_path: Path) -> None:
    """A task or a callback for each of them would be all of the cost; there are a few for each read of many."""
    path = tmp_path / "journal.db"
    fill(path, MANY, small)
    cost = asyncio.run(replay(path, MANY))
    reads = math.ceil(MANY / AHEAD)
    assert cost.outcomes == MANY
    assert cost.tasks <= 10
    assert cost.callbacks <= 40 + 20 * reads


@pytest.mark.thorough
def test_the_memory_of_a_replay_does_not_grow_with_its_items(tmp_path: Path) -> None:
    peaks = []
    for count in (FEW, MANY):
        path = tmp_path / f"{count}.db"
        fill(path, count, small)
        peaks.append(asyncio.run(replay(path, count, traced=True)).peak)
    assert peaks[1] < 1.25 * peaks[0]
