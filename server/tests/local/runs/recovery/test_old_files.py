"""Uploads and outputs that have expired are removed; nothing that is in use, and nothing that is another run's."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from local.flows import PEOPLE, PEOPLE_CSV, slow_rows
from local.servers import serve
from local.wire import Wire

from lume_local._runs import upkeep
from lume_local._runs.recovery.old_files import InUse, _files, _remove
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.source_files import SourceSpec
from lume_local._shared import no_links
from lume_local._shared.identity import identity

FIXED = PEOPLE.replace('"people"', '"fixed"') + '[target]\nmapped = "{data}/fixed.parquet"\n'


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "INTERVAL", 0.02)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def sweeps(wire: Wire, home: Path) -> None:
    """Two more sweeps: a file that is surely to go has gone meanwhile, and another one."""
    for name in ("sweep.csv", "again.csv"):
        await wire.ask("PUT", f"/v1/uploads/{name}", data=b"id\n")
        os.utime(home / ".lume/uploads" / name, (0, 0))
        await until(lambda name=name: not (home / ".lume/uploads" / name).exists())  # type: ignore[misc]


async def test_an_upload_that_was_sent_again_stays(home: Path) -> None:
    """Its file is as old as before, as nothing has replaced it: a run may be about to read it."""
    uploads = home / ".lume/uploads"
    async with serve(home, keep_uploads=3600) as wire:
        twice = uploads / "twice.csv"
        for name in ("twice.csv", "once.csv"):
            (uploads / name).write_bytes(PEOPLE_CSV.encode())
        await wire.ask("PUT", "/v1/uploads/twice.csv", data=PEOPLE_CSV.encode())
        os.utime(twice, (0, 0))
        os.utime(uploads / "once.csv", (0, 0))
        await until(lambda: not (uploads / "once.csv").exists())
        await sweeps(wire, home)
        assert twice.exists()
        answer = await wire.submit("people:v1", "upload://twice.csv")
        assert (await wire.until(answer.document["id"]))["status"] == "SUCCEEDED"


def test_what_is_in_use() -> None:
    used = InUse(["/in/a.csv", f"/in/b.csv\n/in/c [1].csv#{'0' * 64}", "/globs/*.csv", "/day [1]/[!a]*.csv"])
    for path in ("/in/a.csv", "/in/b.csv", "/in/c [1].csv", "/globs/d.csv", "/day [1]/x.csv"):
        assert used.has(path), path
    assert not used.has("/in/d.csv")
    assert not used.has("/day [1]/x.json")


def test_files_of_patterns_and_links_are_in_use(home: Path) -> None:
    """The brackets of the source path mean themselves, those of the flow's pattern do not."""
    (home / "days" / "5 [a]").mkdir(parents=True)
    (home / "latest").symlink_to("days")
    (home / "last.csv").symlink_to("more.csv")
    wanted = SourceSpec(("latest/{source_path}/[0-9].csv", "last.csv"), "5 [a]")
    for name in ("days/5 [a]/1.csv", "more.csv"):
        (home / name).write_text(PEOPLE_CSV)
    roots = Roots.of((home,), home / ".lume")
    used = InUse([wanted.key(roots)])
    assert [used.has(str(path)) for path in wanted.files(roots)] == [True, True]


@pytest.mark.parametrize("many", [0, 120])
def test_real_paths_of_many(tmp_path: Path, many: int) -> None:
    """As `os.path.realpath` has them, whether a folder is read or its files are asked for."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/x.csv").write_text("")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a/b/l.csv").symlink_to("../../link/b/x.csv")
    (tmp_path / "a/loop").symlink_to("loop")
    names = ["link/b/l.csv", "link/b/x.csv", "a/b/none.csv", "none/at/all", "a/loop/x", "link"]
    names += [f"link/b/{n}.csv" for n in range(many)]
    used = InUse(f"{tmp_path}/{name}" for name in [*names, "link/b/[1]*.csv"])
    for name in names:
        assert used.has(os.path.realpath(tmp_path / name)), name
    assert used.has(f"{tmp_path}/a/b/1.csv")
    assert not used.has(f"{tmp_path}/a/x.json")
    assert not used.has("/")


@pytest.mark.thorough
def test_a_hundred_thousand_runs_are_looked_up_at_once(tmp_path: Path) -> None:
    """By counting what is asked of the system, not by a clock."""
    asked = 0
    islink = os.path.islink

    def counted(path: str) -> bool:
        nonlocal asked
        asked += 1
        return islink(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os.path, "islink", counted)
        used = InUse(f"{tmp_path}/{n}.csv" for n in range(100_000))
    assert asked < 50
    many = InUse(f"{tmp_path}/{n}/*.csv" for n in range(1000))
    assert many.has(f"{tmp_path}/7/x.csv")
    assert len(many._compiled) == 1, "of all patterns, those of one folder"
    assert used.has(f"{tmp_path}/99999.csv")


async def test_old_outputs_go_and_their_runs_stay(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "mixed.csv").write_text(PEOPLE_CSV + "x,y,z\n")
    async with serve(home) as wire:
        run = await wire.run("people:v1", "mixed.csv")
    places = [Path(place) for place in run["metadata"]["target_locations"].values()]
    assert [place.exists() for place in places] == [True, True]
    async with serve(home, keep_output=1e-3) as wire:
        await until(lambda: not any(place.exists() for place in places))
        gone = await wire.ask("GET", f"/v1/runs/{run['id']}/outputs/mapped")
        assert (gone.status, gone.kind) == (410, "output-gone")
        assert (await wire.get(run["id"])).document["metadata"] == run["metadata"]
        again = await wire.submit("people:v1", "mixed.csv")
        assert (again.status, again.kind) == (409, "already-processed")
        (flow,) = (await wire.ask("GET", "/v1/inbox")).document["flows"]
        assert (flow["open"], flow["account"]["lost"]) == (0, 1)
    (said,) = [record for record in caplog.records if "lost" in record.getMessage()]
    assert (said.levelname, said.name) == ("WARNING", "lume_local")
    assert said.getMessage().startswith("1 open rejected row is lost: keep_output has removed")
    assert not list(places[0].parent.iterdir())


PARTED = PEOPLE.replace('"people"', '"parted"') + '[target]\nmapped = "{data}/parts/"\n'
READER = """
flow = "reader"
version = "v1"
[source]
format = "parquet"
uri = "{source_path}/*.parquet"
[columns.id]
type = "integer"
"""


async def test_the_parts_of_an_output_stay_as_long_as_a_run_waits_to_read_one(home: Path) -> None:
    (home / "flows/parted.v1.toml").write_text(PARTED)
    (home / "flows/reader.v1.toml").write_text(READER)
    (home / "slow.csv").write_text(slow_rows())
    slow_flow = (home / "flows/slow.v1.toml").read_text()
    (home / "flows/other.v1.toml").write_text(slow_flow.replace('"slow"', '"other"'))  # flows take turns
    async with serve(home, keep_output=1e-3, keep_uploads=3600, max_active=1) as wire:
        first, parted, slow, waiting = [
            (await wire.submit(flow, source)).document["id"]
            for flow, source in (
                ("slow:v1", "slow.csv"),
                ("parted:v1", "people.csv"),
                ("other:v1", "slow.csv"),
                ("reader:v1", ".lume/parts"),
            )
        ]
        await wire.ask("POST", f"/v1/runs/{first}/cancel")  # all wait by now
        assert (await wire.until(parted))["status"] == "SUCCEEDED"
        await sweeps(wire, home)
        manifest, part = sorted((home / ".lume/parts").iterdir())
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        assert (await wire.until(waiting))["status"] == "SUCCEEDED"
        await until(lambda: not (manifest.exists() or part.exists()))


def test_a_part_that_is_read_stays_also_after_a_kill_in_a_removal(tmp_path: Path) -> None:
    manifest = tmp_path / "_manifest.json"
    manifest.write_text('{"parts": [{"file": "part-00000-run_1.parquet"}]}')
    part = tmp_path / "part-00000-run_1.parquet"
    assert _files(manifest, "run_1") == [manifest, part]
    manifest.rename(tmp_path / "._manifest.json.run_1.old")
    assert _files(manifest, "run_1") == [manifest, part]


SEEDED = (
    PEOPLE.replace('"people"', '"seeded"')
    + """
[seeds]
rates = { path = "upload://rates.csv", key = "id" }
known = { path = ".lume/fixed.csv", key = "id" }
"""
)


async def test_seeds_of_flows_stay(home: Path) -> None:
    """Whether they are uploads, or what another flow has written."""
    (home / "flows/fixed.v1.toml").write_text(FIXED.replace(".parquet", ".csv"))
    (home / "flows/seeded.v1.toml").write_text(SEEDED)
    (home / ".lume/uploads").mkdir()
    (home / ".lume/uploads/rates.csv").write_text("id\n1\n")
    async with serve(home) as wire:
        await wire.run("fixed:v1", "people.csv")
    os.utime(home / ".lume/uploads/rates.csv", (0, 0))
    async with serve(home, keep_output=1e-3, keep_uploads=3600) as wire:
        await sweeps(wire, home)
        run = await wire.run("seeded:v1", "people.csv")
        assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]


def test_a_kill_between_the_two_steps_of_a_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next sweep ends it: ours is removed, and another run's is where it was."""
    path, other = tmp_path / "out.csv", tmp_path / "other.csv"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def overtaken(mine: Path, to: Path) -> None:
        os.rename(other, mine)
        os.rename(mine, to)

    for is_ours in (True, False):
        path.write_text("1\n")
        other.write_text("another run's\n")
        noted = identity(path)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(no_links, "unlink", killed)
            patch.setattr(no_links, "link", killed)
            if not is_ours:  # it comes between the look and the rename
                patch.setattr(no_links, "replace", overtaken)
            _remove(path, noted, "run_1")
        assert not path.exists()
        assert _remove(path, noted, "run_1") == is_ours
        assert path.exists() != is_ours
        assert list(tmp_path.glob(".*")) == []


def test_another_runs_output_is_not_touched_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.csv"
    path.write_text("another run's\n")
    monkeypatch.delattr(no_links, "replace")
    assert not _remove(path, "1-1", "run_1")


async def test_an_output_that_is_another_runs_by_now_stays(home: Path) -> None:
    (home / "flows/fixed.v1.toml").write_text(FIXED)
    shutil.copy(home / "people.csv", home / "second.csv")
    place = home / ".lume/fixed.parquet"
    async with serve(home) as wire:
        first = await wire.run("fixed:v1", "people.csv")
        os.utime(place, (1, 1))  # as if the second run had written it
    async with serve(home, keep_output=1e-3, keep_uploads=3600) as wire:
        await sweeps(wire, home)
        assert place.exists()
        for rows in ("outputs/mapped", "mapped?limit=2"):
            answer = await wire.ask("GET", f"/v1/runs/{first['id']}/{rows}")
            assert (answer.status, answer.kind) == (410, "output-gone"), rows
        assert [path.name for path in place.parent.glob(".*old")] == []
