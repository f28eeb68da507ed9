"""Runs of arrivals whose source is away wait until it is back; other runs and other arrivals don't wait for them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from forked import altered
from local.arrivals.test_troubles import arriving, until
from local.servers import serve
from local.wire import Wire
from sftp_server import SftpSite

from lume_local._runs import execution
from lume_local._runs.health import Health
from lume_local._runs.recovery import late
from lume_local._runs.recovery.late import Rested
from lume_local._runs.store.records import StoredRun
from lume_local._runs.workers import child

AWAY = """
import os
from lume_local._worker import engine
from lume_local._worker.sources.source import SourceError

begin_source = engine.begin_source

def begin(context):
    path = context.job.source["files"][0]["path"]
    open(os.path.join({home!r}, "tries"), "a").write(os.path.basename(path) + "\\n")
    if os.path.exists(os.path.join({home!r}, "away-" + os.path.basename(os.path.dirname(path)))):
        raise SourceError("sftp://acme.example.com can't be reached", may_pass={may_pass})
    return begin_source(context)

engine.begin_source = begin
"""
ARRIVALS = """
[[arrival]]
name = "acme"
flow = "people"
from = "acme/*.csv"
ready = { quiet = "0s" }

[[arrival]]
name = "other"
flow = "people"
from = "other/*.csv"
ready = { quiet = "0s" }
"""
ROWS = "id,Email,Age\n1,a@example.org,5\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "FIRST", 0.05)


@pytest.fixture
def two(home: Path) -> Path:
    """The settings of two arrivals, and the folders in which their files arrive."""
    for name in ("acme", "other"):
        (home / name).mkdir()
    (home / "arrivals.toml").write_text(ARRIVALS)
    return home / "arrivals.toml"


def with_places(monkeypatch: pytest.MonkeyPatch, home: Path, *, may_pass: bool = True) -> None:
    """The files of a folder can't be reached while there is a file `away-FOLDER`."""
    before = AWAY.format(home=str(home), may_pass=may_pass)
    monkeypatch.setattr(child, "default_start", altered(lambda program: before + program))


async def run_of(wire: Wire, path: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            for one in (await wire.ask("GET", "/v1/arrivals")).document["files"]:
                if one["path"] == path and one["run_id"]:
                    run: dict[str, Any] = (await wire.ask("GET", f"/v1/runs/{one['run_id']}")).document
                    return run
            await asyncio.sleep(0.02)


async def waits(wire: Wire) -> str:
    """What the server says of the runs that wait, once some do."""
    async with asyncio.timeout(30):
        while True:
            for line in (await wire.ask("GET", "/healthz")).document.get("waiting", ()):
                if line.startswith("reading the files of arrivals"):
                    return str(line)
            await asyncio.sleep(0.02)


async def none_waits(wire: Wire) -> None:
    """A run's end is visible just before its server has forgotten that it waited."""
    async with asyncio.timeout(30):
        while "waiting" in (await wire.ask("GET", "/healthz")).document:
            await asyncio.sleep(0.02)


async def test_it_waits_until_the_place_is_back(
    home: Path, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_places(monkeypatch, home)
    (home / "away-acme").touch()
    async with serve(home, arrivals=two, max_active=1) as wire:
        for number in range(5):
            (home / f"acme/{number}.csv").write_text(ROWS)
        assert "1 run waits (run_" in await waits(wire)
        first = await run_of(wire, "acme/0.csv")
        assert first["finished_at"] is None

        (home / "other/a.csv").write_text(ROWS)
        other = await run_of(wire, "other/a.csv")
        assert (await wire.until(other["id"]))["status"] == "SUCCEEDED", "others are executed"
        assert (await wire.ask("GET", "/readyz")).status == 200

        (home / "away-acme").unlink()
        runs = [await run_of(wire, f"acme/{number}.csv") for number in range(5)]
        ended = [await wire.until(run["id"]) for run in runs]
        assert [run["status"] for run in ended] == ["SUCCEEDED"] * 5
        assert [run["metadata"]["error_message"] for run in ended] == [None] * 5
        # The stages are those of the try that succeeded.
        assert next(stage["name"] for stage in ended[0]["metadata"]["stages"]) == "SYNCING_SOURCE"
        assert len(ended[0]["metadata"]["stages"]) == 3
        await none_waits(wire)


async def test_a_run_that_nobody_waits_for_can_be_cancelled(
    home: Path, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_places(monkeypatch, home)
    (home / "away-acme").touch()
    async with serve(home, arrivals=two, max_active=1) as wire:
        (home / "acme/0.csv").write_text(ROWS)
        await waits(wire)
        run = await run_of(wire, "acme/0.csv")
        await wire.ask("POST", f"/v1/runs/{run['id']}/cancel")
        assert (await wire.until(run["id"]))["status"] == "CANCELLED"
        await none_waits(wire)


@pytest.mark.parametrize("why", ["submitted by somebody", "does not pass", "patience", "has begun elsewhere"])
async def test_what_does_not_wait(home: Path, two: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Whoever submits a run learns at once that its source is away; what can't pass is no reason to wait."""
    with_places(monkeypatch, home, may_pass=why != "does not pass")
    if why == "patience":
        monkeypatch.setattr(late, "PATIENCE", 0.0)
    if why == "has begun elsewhere":  # such as an upload: what is begun twice is undone once
        monkeypatch.setattr(execution, "begun", lambda folder: ["an upload"])
    (home / "away-acme").touch()
    async with serve(
        home, max_active=1, **({} if why == "submitted by somebody" else {"arrivals": two})
    ) as wire:
        (home / "acme/0.csv").write_text(ROWS)
        if why == "submitted by somebody":
            run = await wire.run("people:v1", "acme/0.csv")
        else:
            run = await wire.until((await run_of(wire, "acme/0.csv"))["id"])
        assert run["status"] == ("CRASHED" if why == "has begun elsewhere" else "FAILED"), "to be repeated"
        assert "sftp://acme.example.com can't be reached" in run["metadata"]["error_message"]


def test_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They grow from one try to the next, and end with a run that has found its source."""
    now = 1000.0
    monkeypatch.setattr(late, "FIRST", 2.0)
    monkeypatch.setattr(late.anyio, "current_time", lambda: now)
    runs = [a_run(number) for number in range(12)]
    health = Health(tmp_path)
    rested, pauses = Rested(health), []
    for run in runs:
        assert run.arrival not in rested.arrivals([])
        rested.add(run, "away")
        begun = now
        while rested.arrivals([]):
            now += rested.pause
        pauses.append(now - begun)
        assert rested.arrivals([run]) == {"acme"}, "while one finds out"
        assert run.run_id in rested.run_ids, "the others first"
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    now += 300
    assert rested.run_ids == set()
    assert rested.may_add(runs[0])
    now += late.PATIENCE
    assert not rested.may_add(runs[0])
    assert rested.is_back("acme")
    assert not rested.is_back("acme")
    for number, run in enumerate(runs[:-1], 1):
        rested.remove(run.run_id)
        assert health.runs_waiting() == len(runs) - number, "of those that still wait"
    rested.remove(runs[-1].run_id)
    assert not health.waiting()
    rested.add(runs[0], "away")
    assert rested.pause == 2.0, "it begins anew"


@pytest.mark.thorough
async def test_a_real_server_that_is_away_for_a_while(
    tmp_path: Path, sftp_site: SftpSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as all tries of a run take: it used to be FAILED for good."""
    async with arriving(tmp_path, f"{sftp_site.url}/in/*.csv", sftp_site.root) as wire:
        with monkeypatch.context() as patch:
            # No run begins before the file has been submitted and its server is away.
            patch.setattr("lume_local._runs.runner.Runner._next", nothing)
            sftp_site.put("in/1.csv", b"no\n1\n")
            await until(wire, None, 1)
            sftp_site.stop()
        (tmp_path / "other.csv").write_text("no\n1\n")
        await wire.run("orders:v1", "other.csv")
        assert "1 run waits" in await waits(wire)
        sftp_site.start()
        run = await run_of(wire, f"{sftp_site.url}/in/1.csv")
        assert (await wire.until(run["id"]))["status"] == "SUCCEEDED"


def a_run(number: int) -> StoredRun:
    name = f"run_{number}"
    return StoredRun(number, name, "1", "people:v1", name, name, None, False, "CREATED", "", arrival="acme")


async def nothing(_: object) -> None:
    return None
