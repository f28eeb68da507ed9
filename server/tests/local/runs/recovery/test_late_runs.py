"""Runs that commit while their database or store goes away: nothing half, nothing twice, nothing newer replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import moto_server
import postgres_server
import pytest
from forked import altered
from local.loads import table_run
from local.loads.table_run import ENV, Database
from local.runs.recovery.between import Line, Store, line
from local.runs.sources.test_database_runs import loaded, prepare
from local.servers import serve
from local.wire import Wire

from lume_local._runs.recovery import late
from lume_local._runs.workers import child
from lume_local._shared.commit import committed


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "FIRST", 0.05)
    monkeypatch.setattr(late, "LONGEST", 0.2)
    quick = (
        "from lume_local._worker import object_stores; object_stores._TIMES = 1; "
        "from lume_local._worker.targets import database_target; database_target._PAUSES = (0.05, 0.1); "
    )
    monkeypatch.setattr(child, "default_start", altered(lambda program: quick + program))


@pytest.fixture
def cut(postgres: postgres_server.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Line, Database]]:
    """A database behind a line that can be cut."""
    with table_run.postgresql(postgres, monkeypatch) as database, line(postgres.port, Line) as made:
        monkeypatch.setenv(ENV, postgres.url.replace(f":{postgres.port}/", f":{made.port}/"))
        yield made, database


async def health(wire: Wire) -> str:
    answer = await wire.ask("GET", "/healthz")
    assert answer.status == 200, answer.document
    return "; ".join(answer.document.get("waiting", []))


async def until_healthy(wire: Wire) -> None:
    with anyio.fail_after(10):
        while await health(wire):
            await anyio.sleep(0.02)


async def until_late(wire: Wire, run_id: str) -> dict[str, Any]:
    with anyio.fail_after(40):
        while "putting the output of runs in place: 1 run waits" not in await health(wire):
            await anyio.sleep(0.02)
    run: dict[str, Any] = (await wire.ask("GET", f"/v1/runs/{run_id}")).document
    return run


@pytest.mark.thorough
@pytest.mark.parametrize(("cuts", "by"), [("before", "the next server"), ("after", "the same server")])
async def test_a_database_that_goes_away_at_the_commit(
    tmp_path: Path, cut: tuple[Line, Database], cuts: str, by: str
) -> None:
    between, database = cut
    prepare(tmp_path, database, "append")
    done = [(0,), (297,)][cuts == "after"]
    between.cuts = cuts
    async with serve(tmp_path) as wire:
        run_id = (await wire.submit("invoices:v1", "b1")).document["id"]
        run = await until_late(wire, run_id)
        assert run["status"] == "SYNCING_TARGET"
        again = await wire.submit("invoices:v1", "b1", force_rerun=True)
        assert (again.status, again.kind) == (409, "run-in-progress"), "so that nothing is there twice"
        assert database.execute("SELECT count(*) FROM clean") == [done]
        assert (await wire.ask("POST", f"/v1/runs/{run_id}/cancel")).document["status"] == "SYNCING_TARGET"
        between.cuts = ""
        if by == "the same server":
            between.is_cut = False
            assert (await wire.until(run_id))["status"] == "PARTIAL_FAILED"
            await until_healthy(wire)
    if by == "the next server":
        async with serve(tmp_path) as wire:
            await until_late(wire, run_id)
            assert committed(tmp_path / ".lume/state/runs" / run_id) is not None
            between.is_cut = False
            assert (await wire.until(run_id))["status"] == "PARTIAL_FAILED"
    assert loaded(database) == [(run_id, 297)]
    assert database.execute("SELECT run_id FROM _lume_loads") == [(run_id,)]
    assert list((tmp_path / ".lume/state/runs").iterdir()) == []


async def test_one_that_does_not_come_back(
    tmp_path: Path, cut: tuple[Line, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    between, database = cut
    monkeypatch.setattr(late, "PATIENCE", 0)
    prepare(tmp_path, database, "append")
    between.cuts = "after"
    async with serve(tmp_path) as wire:
        run = await wire.run("invoices:v1", "b1")
        assert run["status"] == "CRASHED"
        said = run["metadata"]["error_message"]
        assert (
            f"Whether its rows are in clean can be seen in _lume_loads: it then has the run {run['id']}"
            in said
        )
        await until_healthy(wire)


async def test_a_table_that_is_gone_by_then(tmp_path: Path, cut: tuple[Line, Database]) -> None:
    """A refusal ends the run, and says that nothing of it is there."""
    between, database = cut
    prepare(tmp_path, database, "append")
    between.cuts = "before"
    async with serve(tmp_path) as wire:
        run_id = (await wire.submit("invoices:v1", "b1")).document["id"]
        await until_late(wire, run_id)
        database.execute("ALTER TABLE clean DROP COLUMN amount")
        between.cuts, between.is_cut = "", False
        run = await wire.until(run_id)
        assert run["status"] == "CRASHED"
        assert "None of its rows are in clean. Submit the run again" in run["metadata"]["error_message"]
        await until_healthy(wire)


LATEST = """
flow = "latest"
version = "v1"
[target]
mapped = "s3://warehouse/out/latest.csv"
rejects = "s3://warehouse/out/{run_id}.rejects.csv"
[columns.id]
type = "integer"
"""


@pytest.fixture
def held(bucket: moto_server.Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store of which one upload can be held up."""
    with line(int(bucket.url.rpartition(":")[2]), Store) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{made.port}")
        yield made


def write(folder: Path, **files: str) -> None:
    (folder / "flows").mkdir()
    (folder / "flows/latest.v1.toml").write_text(LATEST)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)


@pytest.mark.thorough
async def test_an_object_that_a_later_run_has_written(
    tmp_path: Path, bucket: moto_server.Bucket, held: Store
) -> None:
    """It stays what it is, and nothing of the older run is left over."""
    write(tmp_path, a="id\n1\n", b="id\n2\n")
    roots = [str(tmp_path), "s3://warehouse"]
    async with serve(tmp_path, roots=roots) as wire:
        held.holds = True
        older = (await wire.submit("latest:v1", "a.csv")).document["id"]
        await until_late(wire, older)
        newer = await wire.run("latest:v1", "b.csv")
        assert newer["status"] == "SUCCEEDED"
        run = await wire.until(older)
    assert run["status"] == "CRASHED"
    said = run["metadata"]["error_message"]
    assert f"run {newer['id']}, which was submitted later, has written s3://warehouse/out/latest.csv" in said
    assert (bucket.get("out/latest.csv"), bucket.uploads()) == (b"id\n2\n", [])
    assert not run["metadata"]["target_locations"].get("mapped")
