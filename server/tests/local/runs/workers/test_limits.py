"""Nothing hangs a run, its lane or the server: cancels that are not heard, time limits, memory, odd files."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from forked import altered
from local.flows import people, slow_rows
from local.processes import gone
from local.servers import serve
from local.wire import Wire

import lume_local
from lume_async._http.settings import DEFAULT_TIMEOUT
from lume_local._flow.fields import FlowError
from lume_local._http import flow_operations
from lume_local._runs import execution
from lume_local._runs.workers import child, worker, worker_pool
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import Check, Refused


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


async def test_a_source_that_is_no_file(wire: Wire, home: Path) -> None:
    os.mkfifo(home / "odd")
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


@pytest.mark.parametrize(
    "columns", [200, pytest.param(2000, marks=[pytest.mark.thorough, pytest.mark.timeout(300)])]
)
async def test_thousands_of_columns_take_no_gigabytes(home: Path, columns: int) -> None:
    if columns > 200 and duckdb.__version__ < "2":
        pytest.skip("DuckDB 1 needs more memory than a run has")
    names = [f"c{n}" for n in range(columns)]
    header, row, bad = ",".join(names), ",".join("x" for _ in names), "," * (columns - 1)
    (home / "wide.csv").write_text("\n".join([header, row, row, bad]) + "\n")
    definition = people(flow="wide", columns={name: {"minLength": 1} for name in names[1:]})
    definition["columns"][names[0]] = {"required": True}
    async with serve(home, max_active=1) as wire:
        answer = await wire.ask("PUT", "/v1/flows/wide/versions/v1", json=definition)
        while answer.status == 503:  # the machine is busy
            answer = await wire.ask("PUT", "/v1/flows/wide/versions/v1", json=definition)
        assert answer.status == 201, answer.document
        run = await wire.run("wide:v1", "wide.csv")
        assert run["status"] == "PARTIAL_FAILED", run["metadata"]["error_message"]
        assert run["metadata"]["metrics"]["reject_reasons"] == {"c0: is required": 1}
        assert list(run["metadata"]["metrics"]["columns"]) == [*names[1:], names[0]]


async def test_a_file_of_more_columns_than_a_run_can_hold(home: Path) -> None:
    names = [f"c{n}" for n in range(100_000)]
    (home / "wide.csv").write_text(",".join(names) + "\n" + "," * (len(names) - 1) + "\n")
    async with serve(home, max_active=1) as wire:
        definition = people(flow="wide", columns={"c0": {}, "c99999": {}})
        assert (await wire.ask("PUT", "/v1/flows/wide/versions/v1", json=definition)).status == 201
        run = await wire.run("wide:v1", "wide.csv")
    assert run["metadata"]["error_message"] == (
        "the source has 100,000 columns, of which wide:v1 reads 2, and a run holds up to 10,000, since a rejected "
        "row keeps the values of all: remove columns that the flow does not read from the file, then run it again"
    )


_ENDLESS = "list_sum(list_transform(range(100000), lambda i: list_sum(range(i))))::VARCHAR"


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The checks that workers were asked for."""
    asked: list[Check] = []
    answer = worker.Worker.answer

    async def noted(self: worker.Worker, job: Any, *more: Any) -> Any:
        asked.extend([job] if isinstance(job, Check) else [])
        return await answer(self, job, *more)

    monkeypatch.setattr(worker.Worker, "answer", noted)
    return asked


async def test_checking_a_flow_has_a_limit_of_cpu_time(
    monkeypatch: pytest.MonkeyPatch, checks: list[Check]
) -> None:
    monkeypatch.setattr(worker_pool, "CHECK_LIMIT", 1)
    async with WorkerPool().running() as pool:
        for _ in range(2):  # the second time, the verdict is known
            with pytest.raises(FlowError, match="takes more than 1 s of CPU time to check"):
                await pool.check(people(columns={"a": {"sql": _ENDLESS}}))
        compiled = await pool.check(people())
    assert compiled["ref"] == "people:v1"
    assert len(checks) == 2


async def test_the_limit_of_a_check_is_not_that_of_the_process() -> None:
    async with WorkerPool().running() as pool:
        await pool.check(people())
        taken = await pool.take()
        assert resource.prlimit(taken.pid, resource.RLIMIT_CPU) == resource.getrlimit(resource.RLIMIT_CPU)
        await pool.release(taken)


async def test_a_check_on_a_busy_server_is_no_verdict_and_goes_on(checks: list[Check]) -> None:
    async with WorkerPool().running() as pool:
        for _ in range(3):
            with pytest.raises(worker.WorkerDied, match="the server is busy; the check goes on: try again"):
                await pool.check(people(), patience=0)
        assert (await pool.check(people()))["ref"] == "people:v1"
    assert len(checks) == 1


async def test_checks_that_nobody_waits_for_do_not_pile_up(checks: list[Check]) -> None:
    async with WorkerPool().running() as pool:
        for version, why in [
            *((f"v{n}", "the check goes on") for n in range(4)),
            ("v5", "4 other checks go on"),
        ]:
            with pytest.raises(worker.WorkerDied, match=why):
                await pool.check(people(version=version), patience=0)
        assert (await pool.check(people(version="v5")))["ref"] == "people:v5", (
            "waited for, like those of runs"
        )
    assert len(checks) == 5


async def test_only_a_few_verdicts_are_kept(checks: list[Check]) -> None:
    async with WorkerPool().running() as pool:
        for version in ("v1", "v2", "v3", "v4", "v5"):
            await pool.check(people(version=version))
        await pool.check(people(version="v5"))
        assert len(checks) == 5
        await pool.check(people(version="v1"))
        assert len(checks) == 6


async def test_dead_workers_and_missing_packages_are_no_lasting_verdicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def died(*_: Any) -> None:
        raise worker.WorkerDied("out of order")

    async def refused(*_: Any) -> Refused:
        return Refused("source.format", "format 'xml' needs lxml")

    async with WorkerPool().running() as pool:
        for answer, error, words in (
            (died, worker.WorkerDied, "out of order"),
            (refused, FlowError, "needs lxml"),
        ):
            with monkeypatch.context() as broken, pytest.raises(error, match=words):
                broken.setattr(worker.Worker, "answer", answer)
                await pool.check(people())
        assert (await pool.check(people()))["ref"] == "people:v1"


async def test_a_client_waits_for_a_check_on_a_busy_server(
    home: Path, monkeypatch: pytest.MonkeyPatch, checks: list[Check]
) -> None:
    assert 2 * worker_pool.CHECK_PATIENCE < DEFAULT_TIMEOUT, "else the client sends it again too early"
    monkeypatch.setattr(flow_operations, "CHECK_PATIENCE", 0)
    async with serve(home, max_active=1) as wire:
        answer = await wire.ask("PUT", "/v1/flows/busy/versions/v1", json=people(flow="busy"))
        assert (answer.status, "busy" in answer.document["detail"]) == (503, True), answer.document
        while answer.status == 503:
            await asyncio.sleep(0.05)
            answer = await wire.ask("PUT", "/v1/flows/busy/versions/v1", json=people(flow="busy"))
        assert answer.status == 201
    assert sum(check.definition["flow"] == "busy" for check in checks) == 1


async def test_a_process_that_does_not_start_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "START_LIMIT", 0.5)
    monkeypatch.setattr(child, "default_start", altered(lambda _: "import time; time.sleep(60)"))
    async with WorkerPool().running() as pool:
        with pytest.raises(worker.WorkerDied, match=r"not ready within 0\.5 s"):
            await pool.take()
