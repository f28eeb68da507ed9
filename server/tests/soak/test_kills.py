"""Servers and workers killed at any moment, over files and under clocks that jump: `./scripts/soak kills`.

SOAK_SEED chooses other moments (0 by default), SOAK_KILLS how many kills (300 by default).

After every kill the next server must find: every accepted run ended or taken up again, each output whole or not
there, no source processed twice, no worker and no run's folder left over, no request answered before it was safe.
"""

import asyncio
import os
import random
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import pytest
from components import component
from local.flows import write_flows
from local.processes import gone, has_begun, workers
from local.servers import Process, process
from local.wire import Wire

SEED = int(os.environ.get("SOAK_SEED", "0"))
KILLS = int(os.environ.get("SOAK_KILLS", "300"))
ROWS = 20_000
pytestmark = pytest.mark.timeout(7200)


def make_home(folder: Path) -> None:
    write_flows(folder / "flows")
    rows = "".join(f"{n},user{n}@example.org,{n % 200}\n" for n in range(ROWS))
    (folder / "rows.csv").write_text("id,Email,Age\n" + rows)


async def submit_some(wire: Wire, home: Path, first: int, accepted: dict[str, str]) -> None:
    """Submit until the server is gone; what it has accepted is written down."""
    for number in range(first, first + 100):
        source = home / f"{number}.csv"
        source.hardlink_to(home / "rows.csv")
        try:
            answer = await wire.submit("people:v1", source.name, key=f"key-{number}")
        except (aiohttp.ClientError, ConnectionError, AssertionError, KeyError):
            return  # gone in the middle of an answer
        assert answer.status in (201, 200), answer.document
        accepted[source.name] = answer.document["id"]


async def kill_something(process: Process, dice: random.Random) -> list[int]:
    """Kill the server, or some of its workers first; the processes that must be gone then."""
    pids = workers(process.pid)
    for pid in dice.sample(pids, dice.randint(0, len(pids))):
        try:
            number = dice.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
            if number != signal.SIGSTOP or has_begun(pid):
                os.kill(pid, number)
        except ProcessLookupError:
            continue
    if dice.random() < 0.3:
        await asyncio.sleep(dice.uniform(0, 0.3))
    process.kill()
    await process.wait()
    return pids


def judge(home: Path, run: dict[str, Any]) -> None:
    """What must hold for a run that has ended."""
    folder = home / f".lume/out/people/v1/{run['id']}"
    mapped, rejects = folder / "mapped.parquet", folder / "rejects.csv"
    if run["status"] == "PARTIAL_FAILED":
        metrics = run["metadata"]["metrics"]
        (count,) = duckdb.sql(f"SELECT count(*) FROM '{mapped}'").fetchall()[0]
        assert metrics["rows_read"] == ROWS == count + metrics["rows_rejected"]
        assert len(rejects.read_text().splitlines()) == metrics["rows_rejected"] + 1
    else:
        assert run["status"] in ("CRASHED", "CANCELLED"), run
        assert not mapped.exists()
        assert not rejects.exists()


async def judge_all(wire: Wire, home: Path, accepted: dict[str, str], settled: dict[str, str]) -> None:
    for source, run_id in accepted.items():
        run = await wire.until(run_id)
        assert settled.setdefault(run_id, run["status"]) == run["status"], "an end is an end"
        judge(home, run)
        again = await wire.submit("people:v1", source, key=f"key-{source.removesuffix('.csv')}")
        assert (again.status, again.document["id"]) == (200, run_id), "accepted once, done once"
        shutil.rmtree(home / f".lume/out/people/v1/{run_id}", ignore_errors=True)
        (home / source).unlink()
    accepted.clear()


@pytest.mark.parametrize("clock", ["true", "jumping"])
async def test_kills(tmp_path: Path, clock: str) -> None:
    dice = random.Random(SEED)
    environment = {}
    if clock == "jumping":
        component("faketime")
        (library,) = {str(path) for path in Path("/usr/lib").rglob("faketime/libfaketime.so.1")}
        environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
    serve = partial(process, tmp_path, forked=clock == "true", env=environment, max_active=3, keep=None)
    set_clock(tmp_path, 0)
    make_home(tmp_path)
    accepted: dict[str, str] = {}
    settled: dict[str, str] = {}
    for kill in range(KILLS // 2):
        async with serve() as (server, wire):
            await judge_all(wire, tmp_path, accepted, settled)
            submitting = asyncio.create_task(submit_some(wire, tmp_path, 1000 * kill, accepted))
            await asyncio.sleep(dice.uniform(0, 1.0))
            set_clock(tmp_path, dice.randint(-20, 20))
            await asyncio.sleep(dice.uniform(0, 0.5))
            pids = await kill_something(server, dice)
            await submitting
        assert await gone(pids), "with their server, the stopped ones too"
    async with serve() as (_, wire):
        await judge_all(wire, tmp_path, accepted, settled)
        assert (await wire.ask("GET", "/healthz")).status == 200
        async with asyncio.timeout(30):
            while list((tmp_path / ".lume/state/runs").glob("*")):  # the last thing that is done for a run
                await asyncio.sleep(0.01)
    counts = {status: list(settled.values()).count(status) for status in set(settled.values())}
    print(f"{KILLS // 2} kills, {clock} clock: {len(settled)} accepted runs: {counts}")


def set_clock(folder: Path, days: int) -> None:
    """Make the server's clock jump; whole, since faketime ends a process that finds half a file."""
    (folder / "clock.draft").write_text(f"{days:+}d")
    (folder / "clock.draft").replace(folder / "clock")
