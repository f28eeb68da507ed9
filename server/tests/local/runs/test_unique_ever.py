"""Values that are unique in all runs of a flow that writes files: versions, forced runs, engines, a lost file."""

import random
from pathlib import Path
from typing import Any

import pytest
from local.servers import process, serve
from local.wire import Wire

FLOW = """
flow = "orders"
version = "{version}"
{more}
[columns.id]
type = "integer"
required = true
{unique}
"""
EVER = 'unique = "ever"'
REPEATS = "id: repeats the value of an earlier run"


def flow(home: Path, version: str, unique: str = EVER, more: str = "") -> None:
    (home / f"flows/orders.{version}.toml").write_text(FLOW.format(version=version, unique=unique, more=more))


def source(home: Path, name: str, *ids: int) -> str:
    (home / name).write_text("id\n" + "".join(f"{one}\n" for one in ids))
    return name


async def ended(wire: Wire, ref: str, name: str, **fields: Any) -> tuple[str, dict[str, int], list[int]]:
    """Its status, the reasons of its rejects, and the ids that it has mapped."""
    run = await wire.run(ref, name, **fields)
    reasons, ids = run["metadata"]["metrics"].get("reject_reasons", {}), []
    if run["status"] in ("SUCCEEDED", "PARTIAL_FAILED"):
        rows = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")
        ids = [row["id"] for row in rows.document["items"]]
    return run["status"], reasons, ids


@pytest.mark.thorough
async def test_all_versions_of_the_flow_count(home: Path) -> None:
    for version in ("v1", "v2"):
        flow(home, version)
    async with serve(home) as wire:
        assert await ended(wire, "orders:v1", source(home, "a.csv", 1, 2)) == ("SUCCEEDED", {}, [1, 2])
        assert await ended(wire, "orders:v2", source(home, "b.csv", 2, 3)) == (
            "PARTIAL_FAILED",
            {REPEATS: 1},
            [3],
        )
        assert (await ended(wire, "orders:v1", "b.csv"))[2] == [3], "the newest run of a source counts"
    async with serve(home) as wire:
        source(home, "a.csv", 1, 3, 4)
        found = await ended(wire, "orders:v1", "a.csv", force_rerun=True)
        assert found == ("PARTIAL_FAILED", {REPEATS: 1}, [1, 4])
        dry = await wire.submit("orders:v1", source(home, "c.csv", 2, 4), dry_run=True)
        assert dry.document["metadata"]["metrics"]["reject_reasons"] == {REPEATS: 1}
        assert (await ended(wire, "orders:v1", "c.csv"))[2] == [2]


@pytest.mark.thorough
async def test_runs_of_versions_without_it_are_said_and_a_lost_file_is_refused(home: Path) -> None:
    flow(home, "v1", unique="")
    flow(home, "v2")
    async with serve(home) as wire:
        await ended(wire, "orders:v1", source(home, "a.csv", 1))
        run = await wire.run("orders:v2", source(home, "b.csv", 1))
        assert run["metadata"]["metrics"]["warnings"] == {
            'id: earlier runs that are not compared, as their versions have no unique = "ever": 1': 1
        }
    for file in (home / ".lume/state/values").iterdir():
        file.unlink()
    async with serve(home) as wire:
        run = await wire.run("orders:v2", source(home, "c.csv", 5))
        assert run["status"] == "FAILED"
        assert "has the values of 0 of 1 run: restore it" in run["metadata"]["error_message"]
        flow(home, "v3", unique="")
        assert (await ended(wire, "orders:v3", "c.csv"))[0] == "SUCCEEDED"


async def test_a_flow_with_an_engine(home: Path) -> None:
    flow(home, "v1", more="[engine]\nshards = 2\n")
    async with serve(home) as wire:
        assert (await ended(wire, "orders:v1", source(home, "a.csv", *range(5000))))[0] == "SUCCEEDED"
        found = await ended(wire, "orders:v1", source(home, "b.csv", *range(4000, 9000)))
        assert found[1] == {REPEATS: 1000}


async def test_a_development_server_expects_nothing_of_versions_that_change(home: Path) -> None:
    flow(home, "v1", unique="")
    async with serve(home, dev=True) as wire:
        await ended(wire, "orders:v1", source(home, "a.csv", 1))
        flow(home, "v1")
        assert (await ended(wire, "orders:v1", source(home, "b.csv", 1)))[0] == "SUCCEEDED"
        assert (await ended(wire, "orders:v1", source(home, "c.csv", 1, 2)))[2] == [2]


@pytest.mark.thorough
async def test_a_server_that_is_killed_again_and_again(home: Path) -> None:
    """Whatever ran then: each id is mapped once by all runs together, and none of a run that succeeded is missing."""
    flow(home, "v1")
    chance = random.Random(3)
    values = {f"s{n}.csv": chance.sample(range(400), 150) for n in range(12)}
    for name, ids in values.items():
        source(home, name, *ids)
    for _ in range(3):
        async with process(home, max_active=4) as (server, wire):
            for name in values:
                await wire.submit("orders:v1", name)
            await wire.ask("GET", "/v1/changes?limit=1", headers={"Prefer": "wait=1"})
            server.kill()
    mapped: list[int] = []
    async with serve(home, max_active=4) as wire:
        submitted = [await wire.submit("orders:v1", name) for name in values]
        runs = [await wire.until(one.document.get("run_id") or one.document["id"]) for one in submitted]
        for run in runs:
            if run["status"] == "FAILED":
                assert "all 150 rows were rejected" in run["metadata"]["error_message"]
                continue
            assert run["status"] in ("SUCCEEDED", "PARTIAL_FAILED"), run
            rows = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped?limit=1000")
            found = [row["id"] for row in rows.document["items"]]
            mapped += found
            assert run["metadata"]["metrics"]["rows_rejected"] == 150 - len(found)
    assert sorted(mapped) == sorted(set().union(*values.values()))
