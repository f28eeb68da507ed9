"""Runs of an earlier server that a process still holds: nobody is killed who is not proven to be its worker."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve
from components import component
from local.flows import PEOPLE_CSV
from local.servers import serve
from local.wire import Wire

from lume_async._base.platform import is_locked
from lume_local._runs.recovery import late
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun
from lume_local._shared.commit import commit
from lume_local._shared.lock import Process, held, holder, this_process

WAITS = "recovering runs that a process outside of this server may still work on: "
HOLDS = """
import pathlib, sys, time
from lume_local._shared.lock import held
with held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "_TO_EXIT", 0.1)
    monkeypatch.setattr(late, "_SURPRISE", 0.05)
    monkeypatch.setattr(late, "_LOOK", 0.02)


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any server."""
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield process
        process.kill()


async def begun(home: Path, source: str = "people.csv") -> tuple[str, Path]:
    """A run as a killed server leaves it, and its lock."""
    store = SqliteStore(home / ".lume/state/runs.sqlite")
    run, _ = await store.create(NewRun("people:v1", source, str(home / source), None, False, None, ""))
    await store.update(run, "TRANSFORMING", started_at=run.created_at, stages=[])
    store.close()
    lock = home / ".lume/state/runs" / run.run_id / "lock"
    lock.parent.mkdir(parents=True)
    return run.run_id, lock


def known() -> Process:
    process = this_process()
    assert process is not None
    return process


def of(pid: int) -> Process:
    """What a lock would say of another process of this system."""
    code = "from lume_local._shared import lock; print(lock._started(int(__import__('sys').argv[1])))"
    said = subprocess.run([sys.executable, "-c", code, str(pid)], capture_output=True, text=True, check=True)
    return evolve(known(), pid=pid, started=said.stdout.strip())


CLAIMS: dict[str, Callable[[int], Any]] = {
    "an earlier version's": lambda pid: pid,
    "empty": lambda pid: "",
    "not JSON": lambda pid: "{",
    "no process": lambda pid: {"pid": pid},
    "all processes": lambda pid: of(pid).plain() | {"pid": -1},
    "the pid as text": lambda pid: of(pid).plain() | {"pid": str(pid)},
    "another start": lambda pid: of(pid).plain() | {"started": "1"},
    "no start": lambda pid: of(pid).plain() | {"started": ""},
    "another boot": lambda pid: of(pid).plain() | {"boot": "0b6e"},
    "another host": lambda pid: of(pid).plain() | {"host": "elsewhere"},
    "another namespace": lambda pid: of(pid).plain() | {"namespace": "pid:[1]"},
}


async def until_waiting(wire: Wire, *run_ids: str) -> None:
    """Until `GET /healthz` says that just these wait."""
    runs = "1 run waits" if len(run_ids) == 1 else f"{len(run_ids)} runs wait"
    expected = [f"{WAITS}{runs} ({', '.join(run_ids)})"] if run_ids else None
    with anyio.fail_after(20):
        while (answer := await wire.ask("GET", "/healthz")).document.get("waiting") != expected:
            await anyio.sleep(0.02)
        assert answer.status == 200


async def test_a_stranger_is_left_alone(
    home: Path, innocent: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the locks of runs say; each is recovered once its lock is let go."""
    (home / "other.csv").write_text(PEOPLE_CSV)
    locks = {}
    with ExitStack() as stack:
        for number, claim in enumerate(CLAIMS.values()):
            run_id, lock = await begun(home, f"{number}.csv")
            stack.enter_context(held(lock))
            said = claim(innocent.pid)
            lock.write_text(said if isinstance(said, str) else json.dumps(said))
            locks[run_id] = lock
        async with serve(home) as wire:
            assert (await wire.run("people:v1", "other.csv"))["status"] == "SUCCEEDED", "the queue goes on"
            with anyio.fail_after(20):
                while f"{WAITS}{len(locks)} runs wait" not in str(
                    (await wire.ask("GET", "/healthz")).document
                ):
                    await anyio.sleep(0.02)
            await anyio.sleep(0.3)  # three times as long as a worker of this server would have
            assert innocent.poll() is None
            async with wire.session.get("/metrics") as answer:
                assert f"lume_waiting_elsewhere {len(locks)}.0" in await answer.text()
            for run_id, lock in locks.items():
                assert f"holds {lock.parent}" in caplog.text
                cancelled = await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
                assert cancelled.document["status"] == "TRANSFORMING"
                os.unlink(lock)  # as if it had let go
                assert (await wire.until(run_id))["status"] == "CRASHED"
            await until_waiting(wire)
    assert innocent.poll() is None


async def test_what_it_has_committed_is_carried_out_once_it_lets_go(home: Path) -> None:
    """Also of a run that a power cut took back to the beginning of the queue: it is not begun again."""
    store = SqliteStore(home / ".lume/state/runs.sqlite")
    run, _ = await store.create(
        NewRun("people:v1", "people.csv", str(home / "people.csv"), None, False, None, "")
    )
    store.close()
    folder, target = home / ".lume/state/runs" / run.run_id, home / "mapped.parquet"
    folder.mkdir(parents=True)
    (folder / "built").write_text("rows")
    with held(folder / "lock"):
        (folder / "lock").write_text("1")
        async with serve(home) as wire:
            await until_waiting(wire, run.run_id)
            commit(
                folder,
                {
                    "status": "SUCCEEDED",
                    "metrics": {"rows_read": 1, "rows_mapped": 1, "rows_rejected": 0, "reject_reasons": {}},
                    "target_locations": {"rejects": None, "mapped": str(target)},
                    "steps": [
                        {"kind": "file", "part": "mapped", "from": str(folder / "built"), "to": str(target)}
                    ],
                },
            )
            cancelled = await wire.ask("POST", f"/v1/runs/{run.run_id}/cancel")
            assert cancelled.document["status"] == "CREATED"
            os.rename(folder / "lock", home / "lock")
            assert (await wire.until(run.run_id))["status"] == "SUCCEEDED"
    assert target.read_text() == "rows"


async def test_a_server_closes_while_a_stranger_holds_a_run(home: Path) -> None:
    run_id, lock = await begun(home)
    with held(lock):
        lock.write_text("1")
        with anyio.fail_after(5):
            async with serve(home) as wire:
                await until_waiting(wire, run_id)
    async with serve(home) as wire:
        assert (await wire.get(run_id)).document["status"] == "CRASHED"


async def test_a_worker_of_this_system_is_killed_and_waits_for_nobody(home: Path) -> None:
    run_id, lock = await begun(home)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDS, str(lock), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    async with serve(home) as wire:
        assert await process.wait() == -9
        assert (await wire.until(run_id))["status"] == "CRASHED"


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
async def test_a_process_of_another_pid_namespace(home: Path, innocent: subprocess.Popen[bytes]) -> None:
    """To it, its id is that of a process here which has nothing to do with it: 1, or whoever it is."""
    unshare = component("unshare")
    run_id, lock = await begun(home)
    process = await asyncio.create_subprocess_exec(
        *(unshare, "--pid", "--fork", "--kill-child", sys.executable, "-c", HOLDS, str(lock)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        if not await process.stdout.readline():
            pytest.skip("this system lets nobody make a pid namespace")
        found = holder(lock)
        assert found is None or not found.is_known_here
        async with serve(home) as wire:
            await until_waiting(wire, run_id)
            await anyio.sleep(0.3)
            assert is_locked(lock)
            assert process.returncode is None
            process.kill()
            assert (await wire.until(run_id))["status"] == "CRASHED"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_a_process_is_known_by_more_than_its_id(innocent: subprocess.Popen[bytes]) -> None:
    process = of(innocent.pid)
    assert process.lives
    assert Process.of(process.plain()) == process
    for other in (evolve(process, started="1"), evolve(process, boot="x"), evolve(process, namespace="x")):
        assert not other.lives
        other.kill()
    assert innocent.poll() is None
    process.kill()
    assert innocent.wait() == -9
    assert not process.lives
    process.kill()
