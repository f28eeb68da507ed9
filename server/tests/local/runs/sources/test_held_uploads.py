"""Uploads that are sent again while runs read them: each run reads what there was when it began."""

import asyncio
import gzip
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE_CSV
from local.servers import serve
from local.wire import Wire

import lume_local
from lume_local._runs import runner
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import no_links
from lume_local._shared.protocol import Execute

MANY = "id,Email,Age\n" + "".join(f"{n},a{n}@example.org,40\n" for n in range(100))
UPLOAD = "upload://a.csv"
ONE_ROW = "id,Email,Age\n7,g@example.org,70\n"
SEEDED = """
flow = "seeded"
version = "v1"
[seeds.names]
path = "upload://names.csv"
key = "code"
[columns.id]
type = "integer"
[columns.name]
sql = "seed('names', C, 'name')"
"""


async def put(wire: Wire, text: str = PEOPLE_CSV, name: str = "a.csv") -> None:
    answer = await wire.ask("PUT", f"/v1/uploads/{name}", data=text.encode())
    assert answer.status == 201, answer.document


def once_held(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[None]]) -> None:
    """Act once, when the first run is about to read its source."""
    hold, acts = RunPaths.hold_uploads, [act]

    async def and_act(paths: RunPaths, job: Execute) -> Execute:
        held = await hold(paths, job)
        while acts:
            await acts.pop()()
        return held

    monkeypatch.setattr(RunPaths, "hold_uploads", and_act)


def rows(run: dict[str, Any]) -> int:
    assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]
    return int(run["metadata"]["metrics"]["rows_mapped"])


async def leaves(home: Path, *uploads: str) -> None:
    """Wait until there is nothing but these uploads: no drafts, and nothing in the folders of runs."""
    assert sorted(os.listdir(home / ".lume/uploads")) == list(uploads)
    async with asyncio.timeout(20):  # a run's folder goes after its end is recorded
        while list((home / ".lume/state/runs").glob("*/*")):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, "a.csv.gz"), ({"engine": "pool://2", "shard_bytes": 1024}, "a.csv")],
    ids=["one", "shards"],
)
async def test_a_run_reads_the_old_content_and_the_next_one_the_new(
    home: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], name: str
) -> None:
    pack = gzip.compress if name.endswith(".gz") else bytes
    async with serve(home, **options) as wire:

        async def replace() -> None:
            await wire.ask("PUT", f"/v1/uploads/{name}", data=pack(ONE_ROW.encode()))

        once_held(monkeypatch, replace)
        await wire.ask("PUT", f"/v1/uploads/{name}", data=pack(MANY.encode()))
        assert rows(await wire.run("people:v1", f"upload://{name}")) == 100
        again = await wire.submit("people:v1", f"upload://{name}")
        assert (again.status, again.document["source_changed"]) == (409, True)
        assert rows(await wire.run("people:v1", f"upload://{name}", force_rerun=True)) == 1
        await leaves(home, name)


async def test_the_same_content_is_no_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".lume/uploads/a.csv"
    async with serve(home) as wire:
        once_held(monkeypatch, lambda: put(wire))
        await put(wire)
        before = os.stat(path)
        assert rows(await wire.run("people:v1", UPLOAD)) == 3
        after = os.stat(path)
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        again = await wire.submit("people:v1", UPLOAD)
        assert (again.status, again.document["source_changed"]) == (409, False)


async def test_data_that_is_sent_twice_at_once_is_processed_by_one_run(home: Path) -> None:
    async with lume_local.serve(home / "flows", home / ".lume", [home]) as server, server.client() as client:
        first = await client.run("people:v1", data=PEOPLE_CSV.encode(), on_duplicate="attach")
        second = await client.run("people:v1", data=PEOPLE_CSV.encode(), on_duplicate="attach")
        assert first.id == second.id
        assert (await second.wait(timeout=30)).status == "SUCCEEDED"


async def test_seeds_are_held_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each shard reads them."""
    (home / "flows/seeded.v1.toml").write_text(SEEDED)
    (home / "in.csv").write_text("id,C\n" + "1,a\n" * 500)
    async with serve(home, engine="pool://2", shard_bytes=1024) as wire:
        once_held(monkeypatch, lambda: put(wire, "code,name\na,new\n", "names.csv"))
        await put(wire, "code,name\na,old\n", "names.csv")
        run = await wire.run("seeded:v1", "in.csv")
        assert rows(run) == 500
        seed = run["metadata"]["metrics"]["seeds"]["names"]
        assert seed["file"] == str(home / ".lume/uploads/names.csv"), "it is called by its name"
        mapped = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped?limit=1")
        assert mapped.document["items"][0]["name"] == "old"


async def test_dry_runs_hold_theirs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(home) as wire:
        once_held(monkeypatch, lambda: put(wire, ONE_ROW))
        await put(wire)
        answer = await wire.submit("people:v1", UPLOAD, dry_run=True)
        assert (answer.status, rows(answer.document)) == (200, 3)
        await leaves(home, "a.csv")


async def test_messages_have_the_path_of_the_upload(home: Path) -> None:
    async with serve(home) as wire:
        await put(wire, "id,Email\n1\x00,a\n")
        (home / ".lume/uploads/a.csv").write_bytes(b"%PDF-1.7\n")
        run = await wire.run("people:v1", UPLOAD)
        assert run["status"] == "FAILED"
        assert str(home / ".lume/uploads/a.csv") in run["metadata"]["error_message"]
        (home / ".lume/uploads/a.csv").unlink()
        run = await wire.run("people:v1", UPLOAD, force_rerun=True)
        assert f"there is no file {home / '.lume/uploads/a.csv'}" in run["metadata"]["error_message"]
        await leaves(home)


async def test_a_file_system_without_links(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run then reads its upload where it is, and fails if that is replaced meanwhile."""

    def no_link(source: Path, target: Path) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(no_links, "link", no_link)
    async with serve(home) as wire:
        await put(wire)
        assert rows(await wire.run("people:v1", UPLOAD)) == 3
        await leaves(home, "a.csv")


@pytest.mark.parametrize("how", ["cancelled", "no worker"])
async def test_a_run_that_does_not_begin_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    died, take = list[runner.Execution](), WorkerPool.worker

    async def dead(execution: runner.Execution, worker: Any, job: Execute) -> None:
        assert list(Path(job.folder).glob("uploads/*")), "it was held"
        died.append(execution)

    def second(pool: WorkerPool, *, new: bool = False) -> Any:
        if new and how == "no worker":
            raise WorkerDied("no process can be started")
        if new:
            died[0].stop(runner.Stop.REQUESTED)
        return take(pool, new=new)

    # The first worker dies before the run has begun.
    monkeypatch.setattr(runner.Execution, "_follow", dead)
    monkeypatch.setattr(WorkerPool, "worker", second)
    async with serve(home, max_active=1) as wire:
        await put(wire)
        run = await wire.run("people:v1", UPLOAD)
        assert run["status"] == ("CANCELLED" if how == "cancelled" else "CRASHED")
        await leaves(home, "a.csv")
