"""A real server writes to tables of open formats: runs without a trace, and a server that is killed."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

import depth
import pytest
from local.flows import slow_rows
from local.loads import iceberg, lake_tables
from local.processes import workers
from local.servers import process, serve
from on_posix import posix_only

import lume_local
from lume_local._shared.commit import committed

FLOW = """
flow = "customers"
version = "v1"
[target.mapped]
{place}
create = true
{how}
[columns.id]
type = "integer"
required = true
unique = true
"""
BURNT = """
[columns.burnt]
sql = "levenshtein(repeat('ab', 550), repeat(lpad(id, 5, '0'), 550))"
type = "integer"
"""
HOW = {"appended": 'mode = "append"', "history": 'mode = "upsert"\nkey = ["id"]\nhistory = "scd2"'}
KILLED = [("delta", "appended"), ("iceberg", "history")]
"""Every night, `ALL` of them: workers are killed in all of these by the tests of the two targets."""
ALL = [(kind, how) for kind in ("delta", "iceberg") for how in HOW]
ROWS = 50


@pytest.fixture(params=["delta", pytest.param("iceberg", marks=pytest.mark.thorough)])
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[lake_tables.Lake]:
    with lake_tables.opened(request.param, tmp_path, monkeypatch) as lake:
        yield lake


def write(home: Path, lake: lake_tables.Lake, how: str, more: str) -> Path:
    (home / "flows").mkdir()
    file = home / "flows/customers.v1.toml"
    file.write_text(FLOW.format(place=lake.place, how=HOW[how]) + more)
    return file


async def test_a_dry_run_a_try_and_a_cancelled_run_leave_no_trace(
    tmp_path: Path, lake: lake_tables.Lake
) -> None:
    flow = write(tmp_path, lake, "history", BURNT)
    (tmp_path / "few.csv").write_text("id\n1\n2\n")
    (tmp_path / "slow.csv").write_text(slow_rows())
    async with serve(tmp_path) as wire:
        for is_there in (False, True):
            if is_there:
                assert (await wire.run("customers:v1", "few.csv"))["status"] == "SUCCEEDED"
                (tmp_path / "few.csv").write_text("id\n2\n3\n")
            before = lake.files()
            dry = await wire.submit("customers:v1", "few.csv", dry_run=True)
            assert (dry.document["status"], len(dry.document["rows"]["mapped"])) == ("SUCCEEDED", 2)
            async with lume_local.open_trial(tmp_path / "few.csv") as trial:
                assert len((await trial.try_flow(flow)).mapped) == 2
            run_id = (await wire.submit("customers:v1", "slow.csv")).document["id"]
            await wire.until(run_id, "TRANSFORMING")
            await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
            assert (await wire.until(run_id))["status"] == "CANCELLED"
            assert lake.files() == before
    assert lake.execute("SELECT id, current FROM customers ORDER BY 1") == [(1, True), (2, True)]


def check(lake: lake_tables.Lake, how: str, loaded: list[str]) -> None:
    """All rows of each run that has committed are there once, and no others."""
    assert lake.loads() == loaded
    counts = lake.execute("SELECT _lume_run_id, count(*), count(DISTINCT id) FROM customers GROUP BY 1")
    assert {run_id: tuple(numbers) for run_id, *numbers in counts} == dict.fromkeys(loaded, (ROWS, ROWS))
    if how == "history":
        query = """
            SELECT count(*) FROM (
                FROM customers SELECT *, lead(valid_from) OVER (PARTITION BY id ORDER BY valid_from) AS following
            ) WHERE valid_to IS DISTINCT FROM following OR current <> (following IS NULL)
        """
        assert lake.execute(query) == [(0,)], "each version ends where the next one begins"


@posix_only
@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("lake", "how"), KILLED if depth.TIMES == 1 else ALL, indirect=["lake"])
async def test_a_killed_server_publishes_once(tmp_path: Path, lake: lake_tables.Lake, how: str) -> None:
    dice, took, loaded, unpublished = random.Random(ROWS), 1.0, list[str](), 0
    settings = {f"{iceberg.VARIABLE}{k.upper()}": v for k, v in iceberg.settings_of(lake.folder).items()}
    serve = partial(process, tmp_path, env=settings)
    write(tmp_path, lake, how, "[columns.city]\n")
    for number in range(depth.KILLS):
        rows = "".join(f"{n},city{number}\n" for n in range(ROWS))
        (tmp_path / f"{number}.csv").write_text(f"id,city\n{rows}")
        reached = dice.choice(["submitted", "committed", "published"]) if number else "published"
        async with serve() as (server, wire):
            run_id = (await wire.submit("customers:v1", f"{number}.csv")).document["id"]
            folder = tmp_path / ".lume/state/runs" / run_id
            async with asyncio.timeout(60):
                while reached != "submitted" and committed(folder) is None:
                    await asyncio.sleep(0.001)
                began, pids = monotonic(), workers(server.pid)
                while reached == "published" and run_id not in lake.loads():
                    await asyncio.sleep(0)
            took = took if number else monotonic() - began
            await asyncio.sleep(dice.choice([0, dice.uniform(0, took)]))
            for pid in (server.pid, *pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await server.wait()
        unpublished += reached == "committed" and run_id not in lake.loads()
        if dice.random() < 0.3:
            async with serve():  # it is killed when it has just begun to finish the run
                await asyncio.sleep(dice.uniform(0, took))
        async with serve() as (_, wire):
            status = (await wire.until(run_id))["status"]
        assert status == "SUCCEEDED" if reached != "submitted" else status in ("SUCCEEDED", "CRASHED")
        loaded += [run_id] if status == "SUCCEEDED" else []
        check(lake, how, loaded)
    assert unpublished, "some were killed between the commit and the table's version"
