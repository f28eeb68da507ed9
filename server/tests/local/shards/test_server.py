"""Runs of a server that has an engine: the pool of this machine."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from local import processes
from local.wire import Wire

import lume_local

ENGINE: dict[str, Any] = {"engine": "pool://2", "shard_bytes": 1024}


@pytest.fixture
async def server(home: Path) -> AsyncIterator[lume_local.Server]:
    async with lume_local.serve(home / "flows", home / ".lume", [home], **ENGINE) as server:
        yield server


def slow(rows: int) -> str:
    return "id\n" + "".join(f"{n:0100}\n" for n in range(rows))


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # the pool has replaced it just now
        os.kill(pid, signal.SIGKILL)


async def pool_of(server: lume_local.Server, run_id: str) -> list[int]:
    """The processes of a run's pool, once there are any that have begun."""
    with anyio.fail_after(60):
        while True:
            worker = server.workers().get(run_id)
            found = [pid for pid in processes.children(worker or 2**30) if processes.has_begun(pid)]
            if found:
                return found
            await anyio.sleep(0.01)


async def test_a_small_source_is_one_workers_and_says_why(
    wire: Wire, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="lume_local"):
        run = await wire.run("people:v1", "people.csv")
    shards = run["metadata"]["metrics"]["shards"]
    assert shards == {
        "engine": "pool",
        "count": 1,
        "whole": {f"{home}/people.csv": "it is not larger than a shard"},
    }
    assert (
        f"run {run['id']}: {home}/people.csv is not split: it is not larger than a shard" in caplog.messages
    )


async def test_a_killed_process_of_the_pool_costs_nothing(
    server: lume_local.Server, wire: Wire, home: Path
) -> None:
    (home / "slow.csv").write_text(slow(60))
    run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    for pid in await pool_of(server, run_id):
        kill(pid)
    run = await wire.until(run_id)
    assert (run["status"], run["metadata"]["metrics"]["rows_mapped"]) == ("SUCCEEDED", 60)


async def test_a_pool_that_is_lost_again_and_again_fails_the_run(
    server: lume_local.Server, wire: Wire, home: Path
) -> None:
    (home / "slow.csv").write_text(slow(2000))
    run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    with anyio.fail_after(60):
        while worker := server.workers().get(run_id, await _waits(wire, run_id)):
            for pid in processes.children(worker):
                kill(pid)
            await anyio.sleep(0.01)
    run = await wire.until(run_id)
    assert run["status"] == "FAILED"
    assert run["metadata"]["error_message"] == (
        "a task was lost 3 times: its process in the pool was killed by signal SIGKILL. Nothing was written: submit "
        "the run again"
    )
    assert not (home / ".lume/out").exists()
    assert not list((home / ".lume/state/runs").glob("*"))


async def _waits(wire: Wire, run_id: str) -> int:
    """A number that is no process, as long as the run has not ended."""
    return 0 if (await wire.get(run_id)).document["finished_at"] else 2**30


@pytest.mark.thorough
async def test_cancel_stops_the_tasks(server: lume_local.Server, wire: Wire, home: Path) -> None:
    (home / "slow.csv").write_text(slow(400))
    run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    await wire.until(run_id, "TRANSFORMING")
    pids = await pool_of(server, run_id)
    await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
    assert (await wire.until(run_id))["status"] == "CANCELLED"
    assert await processes.gone(pids)
    assert not list((home / ".lume/state/runs").glob("*"))


async def test_a_killed_coordinator_takes_its_pool_along(
    server: lume_local.Server, wire: Wire, home: Path
) -> None:
    (home / "slow.csv").write_text(slow(2000))
    run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    pids = await pool_of(server, run_id)
    os.kill(server.workers()[run_id], signal.SIGKILL)
    assert (await wire.until(run_id))["status"] == "CRASHED"
    assert await processes.gone(pids)
