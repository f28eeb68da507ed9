"""Lanes carry out run after run, whatever happens to a run, to the state or to the workers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from forked import altered
from local.servers import serve

from lume_local._runs import recorder, runner
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoreUnavailable
from lume_local._runs.workers import child, worker, worker_pool


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(recorder, "RETRY", 0.01)
    monkeypatch.setattr(runner, "RETRY", 0.01)
    monkeypatch.setattr(worker_pool, "RETRY", 0.01)


async def test_an_error_of_the_server_itself_ends_the_run_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a mistake of the server")

    async with serve(home, max_active=1) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(RunPaths, "job", broken)
            run = await wire.run("people:v1", "people.csv")
        assert run["status"] == "CRASHED"
        assert "a mistake of the server" in run["metadata"]["error_message"]
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"


@pytest.mark.thorough
async def test_a_run_that_can_not_be_ended_holds_up_no_other_and_no_start(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = RunRecorder.end

    async def broken(self: RunRecorder, run_id: str, *arguments: Any, **named: Any) -> None:
        if run_id == bad:
            raise ZeroDivisionError("a mistake of the server")
        await real(self, run_id, *arguments, **named)

    async def none(_: object) -> None:
        return None

    (home / "other.csv").write_text((home / "people.csv").read_text())
    bad = ""
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "end", broken)
        async with serve(home, max_active=1) as wire:
            with monkeypatch.context() as first:
                first.setattr(runner.Runner, "_next", none)
                bad = (await wire.submit("people:v1", "people.csv")).document["id"]
            assert (await wire.run("people:v1", "other.csv"))["status"] == "SUCCEEDED"
        async with serve(home, max_active=1) as wire:
            assert (await wire.run("people:v1", "other.csv", force_rerun=True))["status"] == "SUCCEEDED"
    assert len([line for line in caplog.messages if "its end can't be recorded" in line]) == 2
    async with serve(home, max_active=1) as wire:
        # It had committed, and the output is there: a start that couldn't end it leaves that known to the next one.
        assert (await wire.until(bad))["status"] == "SUCCEEDED"


async def test_a_queue_that_can_not_be_read_is_unhealthy_and_read_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise StoreUnavailable("OperationalError: disk I/O error")

    async with serve(home, max_active=1) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(SqlStore, "next_waiting", broken)
            run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
            async with asyncio.timeout(20):
                while (answer := await wire.ask("GET", "/healthz")).status == 200:
                    await asyncio.sleep(0.01)
            assert (answer.status, answer.kind, answer.headers["Retry-After"]) == (503, "unavailable", "1")
            assert "the queue: OperationalError: disk I/O error" in answer.document["detail"]
        assert (await wire.until(run_id))["status"] == "SUCCEEDED"
        assert (await wire.ask("GET", "/healthz")).status == 200


async def test_workers_that_can_not_be_started_are_unhealthy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(home, max_active=1) as wire:
        await wire.run("people:v1", "people.csv")
        with monkeypatch.context() as patch:
            patch.setattr(worker, "MOST_RUNS", 0)
            patch.setattr(child, "default_start", altered(lambda _: "raise SystemExit('no duckdb here')"))
            await wire.run("people:v1", "people.csv", force_rerun=True)  # the last one of its process
            run = await wire.run("people:v1", "people.csv", force_rerun=True)
            assert run["status"] == "CRASHED"
            assert "no duckdb here" in run["metadata"]["error_message"]
            answer = await wire.ask("GET", "/healthz")
            assert (answer.status, answer.kind) == (503, "unavailable")
            assert "no duckdb here" in answer.document["detail"]
        async with asyncio.timeout(30):
            while (await wire.ask("GET", "/healthz")).status != 200:
                await asyncio.sleep(0.01)
        assert (await wire.run("people:v1", "people.csv", force_rerun=True))["status"] == "SUCCEEDED"
