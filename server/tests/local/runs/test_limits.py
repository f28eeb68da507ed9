"""Nothing hangs a run, its lane or the server: cancels that are not heard, time limits, memory, odd files."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from forked import altered
from local.flows import people, slow_rows
from local.processes import gone
from local.servers import serve
from local.wire import Wire

import lume_local
from lume_async._http.settings import DEFAULT_TIMEOUT
from lume_async.errors import ConfigurationError, InvalidRequestError
from lume_local._flow.fields import FlowError
from lume_local._runs import execution
from lume_local._runs.recovery import late
from lume_local._runs.workers import child, worker, worker_pool
from lume_local._runs.workers.worker_pool import WorkerPool


@asynccontextmanager
async def slow_run(home: Path, **options: float) -> AsyncIterator[tuple[Wire, str, int]]:
    """A run at work: a client, the run's id, its worker's process id."""
    (home / "slow.csv").write_text(slow_rows())
    serving = lume_local.serve(home / "flows", home / ".lume", [home], max_active=1, **options)  # type: ignore[arg-type]
    async with serving as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
            await wire.until(run_id, "TRANSFORMING")
            yield wire, run_id, server.workers()[run_id]


async def goes_on(wire: Wire) -> bool:
    return (await wire.run("people:v1", "people.csv", force_rerun=True))["status"] == "SUCCEEDED"


async def test_a_cancel_that_is_not_heard_ends_the_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "KILL_AFTER", 0.1)
    async with slow_run(home) as (wire, run_id, pid):
        os.kill(pid, signal.SIGSTOP)
        await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
        run = await wire.until(run_id)
        assert run["status"] == "CANCELLED"
        assert run["metadata"]["error_message"] == "cancelled by request; nothing was written"
        assert await gone([pid])
        assert not list((home / ".lume/state/runs").glob("*"))
        assert await goes_on(wire)


@pytest.fixture
def often_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that works sends an event ten times a second."""
    beat = "from lume_local._worker import main; main._HEARTBEAT = 0.1; "
    monkeypatch.setattr(child, "default_start", altered(lambda program: beat + program))


@pytest.mark.thorough
@pytest.mark.usefixtures("often_heard")
async def test_a_worker_that_is_stopped_is_noticed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "SILENCE", 2.0)
    async with slow_run(home) as (wire, run_id, pid):
        os.kill(pid, signal.SIGSTOP)
        run = await wire.until(run_id)
        assert run["status"] == "CRASHED"
        assert "did not respond for 2 s" in run["metadata"]["error_message"]
        assert await gone([pid])
        assert await goes_on(wire)


@pytest.mark.thorough
@pytest.mark.usefixtures("often_heard")
async def test_a_worker_that_works_for_long_is_not_taken_for_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SILENCE", 3.0)
    async with slow_run(home) as (wire, run_id, _):
        answer = await wire.get(run_id)
        assert (await wire.get(run_id, wait=4, tag=answer.headers["ETag"])).status == 304


@pytest.mark.thorough
async def test_a_run_has_a_time_limit(home: Path) -> None:
    async with slow_run(home, run_timeout=2) as (wire, run_id, _):
        run = await wire.until(run_id)
        assert run["status"] == "FAILED"
        assert "longer than its time limit of 2 s" in run["metadata"]["error_message"]
        assert await goes_on(wire)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), 86400e9])
async def test_time_limits_that_make_no_sense(home: Path, limit: float) -> None:
    allowed = r"above 0 and at most 10,000,000,000 seconds \(300 years\), or None for ever"
    with pytest.raises(ConfigurationError, match=f"run_timeout must be {allowed}, not {limit}"):
        async with lume_local.serve(None, home / ".lume", run_timeout=limit):
            pass


async def test_closing_waits_for_no_stopped_worker(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "KILL_AFTER", 0.1)
    async with asyncio.timeout(20):
        async with slow_run(home) as (_, run_id, pid):
            os.kill(pid, signal.SIGSTOP)
        assert await gone([pid])
        async with serve(home) as wire:
            run = (await wire.get(run_id)).document
    assert run["status"] == "CRASHED"
    assert "the server was stopped" in run["metadata"]["error_message"]


async def test_a_stopped_worker_of_a_dead_server_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "_TO_EXIT", 0.1)
    lock = tmp_path / "lock"
    code = f"""
import pathlib, time
from lume_local._shared.lock import held
with held(pathlib.Path({str(lock)!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    await holder.stdout.readline()
    os.kill(holder.pid, signal.SIGSTOP)
    async with asyncio.timeout(20):
        await late.wait_until_free(lock)
        assert await holder.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["fifo", "device"])
async def test_sources_that_are_no_files(wire: Wire, home: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(home / "odd")
    else:
        try:
            os.mknod(home / "odd", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
        except PermissionError:
            pytest.skip("making a device needs root")
    run = await wire.run("people:v1", "odd")
    assert run["status"] == "FAILED"
    assert "is not a regular file" in run["metadata"]["error_message"]


async def test_an_allocation_that_would_take_the_machine(wire: Wire, home: Path) -> None:
    flow = people(version="v2", columns={"a": {"sql": "repeat(id, 3000000000)"}})
    assert (await wire.ask("PUT", "/v1/flows/people/versions/v2", json=flow)).status == 201
    run = await wire.run("people:v2", "people.csv")
    assert run["status"] == "FAILED"
    assert "memory limit" in run["metadata"]["error_message"]
    assert await goes_on(wire)


async def test_hundreds_of_columns_take_no_gigabytes(home: Path) -> None:
    names = [f"c{n}" for n in range(200)]
    header, row = ",".join(names), ",".join("x" for _ in names)
    (home / "wide.csv").write_text("\n".join([header, row, row]) + "\n")
    definition = people(flow="wide", columns={name: {"minLength": 1} for name in names})
    async with serve(home, max_active=1) as wire:
        answer = await wire.ask("PUT", "/v1/flows/wide/versions/v1", json=definition)
        assert answer.status == 201, answer.document
        run = await wire.run("wide:v1", "wide.csv")
        assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]


async def test_checking_a_flow_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "CHECK_LIMIT", 0.5)
    endless = "list_sum(list_transform(range(100000), lambda i: list_sum(range(i))))::VARCHAR"
    async with WorkerPool().running() as pool:
        with pytest.raises(FlowError, match=r"takes longer than 0\.5 s to check"):
            await pool.check(people(columns={"a": {"sql": endless}}))
        compiled = await pool.check(people())
    assert compiled["ref"] == "people:v1"


async def test_a_flow_that_takes_too_long_to_check_is_refused_before_its_client_gives_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 2 * worker_pool.CHECK_LIMIT < DEFAULT_TIMEOUT, (
        "else the client sends it again, and the server starts anew"
    )
    monkeypatch.setattr(worker_pool, "CHECK_LIMIT", 0.5)
    endless = "list_sum(list_transform(range(100000), lambda i: list_sum(range(i))))::VARCHAR"
    async with (
        lume_local.serve(None, home / ".lume", [home], max_active=1) as server,
        server.client() as client,
    ):
        with pytest.raises(InvalidRequestError, match=r"takes longer than 0\.5 s to check") as caught:
            await client.register_flow(people(flow="endless", columns={"a": {"sql": endless}}))
    assert caught.value.attempts == 1


async def test_a_process_that_does_not_start_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "START_LIMIT", 0.5)
    async with WorkerPool(start=altered(lambda _: "import time; time.sleep(60)")).running() as pool:
        with pytest.raises(worker.WorkerDied, match=r"not ready within 0\.5 s"):
            await pool.take()
