"""Killed workers, killed servers, and what the next server makes of what they left."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import orjson
import pytest
from local.flows import slow_rows
from local.processes import begun, children, gone, workers
from local.servers import process, serve
from local.wire import Wire

import lume_local
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._shared.commit import begin, commit, committed, draft_of
from lume_local._shared.interpreter import command
from lume_local._worker.targets.file_targets import FileTarget
from lume_local._worker.targets.target_kinds import abandon, publish

pytestmark = pytest.mark.usefixtures("only_own_workers_count")


def left(home: Path) -> list[Path]:
    """What there still is of runs that have ended."""
    return [path for name in ("runs", "scratch") for path in (home / ".lume/state" / name).glob("*")]


async def test_a_killed_worker_is_a_crashed_run(server: lume_local.Server, wire: Wire, home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    await wire.until(run_id, "TRANSFORMING")
    os.kill(server.workers()[run_id], signal.SIGKILL)
    run = await wire.until(run_id)
    assert run["status"] == "CRASHED"
    assert "SIGKILL" in run["metadata"]["error_message"]
    assert "submit the run again" in run["metadata"]["error_message"]
    assert run["metadata"]["stages"][-1]["finished_at"]
    assert not (home / ".lume/out").exists()
    assert not left(home)
    assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"


async def test_what_a_crashed_replay_says_is_to_repeat_it(
    server: lume_local.Server, wire: Wire, home: Path
) -> None:
    (home / "slow.csv").write_text(slow_rows(2_000))
    refusing = {"flow": "slow", "version": "v0", "columns": {"id": {"type": "integer", "maximum": 0}}}
    assert (await wire.ask("PUT", "/v1/flows/slow/versions/v0", json=refusing)).status == 201
    assert (await wire.run("slow:v0", "slow.csv"))["status"] == "PARTIAL_FAILED"
    replay = await wire.ask("POST", "/v1/replays", json={"flow": "slow", "to": "slow:v1"})
    (run,) = replay.document["runs"]
    await wire.until(run["id"], "TRANSFORMING")
    os.kill(server.workers()[run["id"]], signal.SIGKILL)
    run = await wire.until(run["id"])
    assert run["status"] == "CRASHED"
    assert run["metadata"]["error_message"].endswith("; nothing was written: repeat the replay")


async def test_a_killed_server_leaves_no_workers_and_its_runs_crashed(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with process(home, forked=False) as (server, wire):
        run_id = (await wire.submit("slow:v1", "slow.csv", key="one")).document["id"]
        await wire.until(run_id, "TRANSFORMING")
        pids = children(server.pid)
        assert pids
        server.kill()
        await server.wait()
    assert await gone(pids)
    async with serve(home) as wire:
        run = (await wire.get(run_id)).document
        assert run["status"] == "CRASHED"
        assert "the server stopped while the run was active" in run["metadata"]["error_message"]
        replay = await wire.submit("slow:v1", "slow.csv", key="one")
        assert (replay.status, replay.document["id"]) == (200, run_id)
        assert not left(home)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends when it is continued")
async def test_an_idle_worker_that_is_stopped_ends_with_its_killed_server(home: Path) -> None:
    async with process(home, forked=False) as (server, wire):
        await wire.run("people:v1", "people.csv")
        pids = workers(server.pid)
        assert pids
        for pid in pids:
            await begun(pid)
            os.kill(pid, signal.SIGSTOP)
        server.kill()
        await server.wait()
    assert await gone(pids)


async def test_a_worker_whose_server_is_gone_before_it_begins_ends() -> None:
    tied = f"from lume_local._shared.interpreter import end_with; end_with({os.getppid()}); input()"  # not its parent
    late = await asyncio.create_subprocess_exec(sys.executable, "-c", tied, stdin=subprocess.PIPE)
    async with asyncio.timeout(30):
        assert await late.wait() == 1


def test_a_process_imports_the_package_that_its_server_is_of(tmp_path: Path) -> None:
    done = subprocess.run(command("print(sys.path[0])"), cwd=tmp_path, capture_output=True, text=True)

    assert (done.stdout.strip(), done.stderr) == (str(Path(lume_local.__file__).parents[1]), "")


@pytest.mark.thorough
async def test_servers_killed_at_any_time_leave_whole_outputs_or_none(home: Path) -> None:
    rows = 60_000
    (home / "big.csv").write_text("id,Email,Age\n" + "".join(f"{n},a{n}@b.org,5\n" for n in range(rows)))
    dice = random.Random(7)
    for attempt in range(3):
        async with process(home) as (server, wire):
            answer = await wire.submit("people:v1", "big.csv", force_rerun=True)
            run_id = answer.document["id"]
            await asyncio.sleep(dice.uniform(0.05, 0.6))  # anywhere in the run, or after it
            server.kill()
            await server.wait()
        async with serve(home) as wire:
            run = await wire.until(run_id)
        output = home / f".lume/out/people/v1/{run_id}/mapped.parquet"
        if run["status"] == "SUCCEEDED":
            assert run["metadata"]["metrics"]["rows_mapped"] == rows
            assert output.read_bytes().endswith(b"PAR1"), attempt
        else:
            assert run["status"] == "CRASHED"
            assert not output.exists()
        assert not left(home)


def test_a_run_that_cannot_hand_over_what_it_has_begun_keeps_its_folder(tmp_path: Path) -> None:
    roots = Roots.of((tmp_path,), tmp_path / ".lume")
    paths = RunPaths(roots, None, None)  # type: ignore[arg-type]
    folder = paths.folders / "run_1"
    folder.mkdir(parents=True)
    begin(folder, {"kind": "file", "to": "x"})
    paths.begun.write_text("no folder, and so is a full disk")
    paths.clear([])
    assert folder.exists()
    paths.begun.unlink()
    paths.clear([])
    assert not folder.exists()
    assert (paths.begun / "run_1/begun.json").exists()


def test_targets_on_another_file_system(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        built, final = tmp_path / "built", Path(folder) / "below/final"
        built.write_text("new")
        target = FileTarget("mapped", {"kind": "file", "path": str(final)}, "run_1")
        step = target.prepare(built, partial(begin, tmp_path))
        near = draft_of(final, "run_1")
        assert step == {**step, "kind": "file", "from": str(near), "to": str(final)}
        assert near.exists()
        abandon(tmp_path)
        abandon(tmp_path)
        assert not near.exists()
        step = target.prepare(built, partial(begin, tmp_path))
        publish({"steps": [step]}, tmp_path)
        publish({"steps": [step]}, tmp_path)
        assert [entry.name for entry in final.parent.iterdir()] == ["final"]
        assert final.read_text() == "new"


def test_publishing_twice_does_no_harm_and_a_lost_file_is_noticed(tmp_path: Path) -> None:
    built, final = tmp_path / "built", tmp_path / "final"
    built.write_text("new")
    final.write_text("old")
    record = {"steps": [{"kind": "file", "from": str(built), "to": str(final)}]}
    commit(tmp_path, record)
    assert committed(tmp_path) == record == orjson.loads((tmp_path / "commit.json").read_bytes())
    publish(record, tmp_path)
    publish(record, tmp_path)
    assert final.read_text() == "new"
    final.unlink()
    with pytest.raises(FileNotFoundError):
        publish(record, tmp_path)
