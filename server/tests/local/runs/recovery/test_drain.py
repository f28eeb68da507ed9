"""A server that is ended while runs are active lets them end, or gives them back to the next one."""

import asyncio
from pathlib import Path

import pytest
from local.flows import slow_rows
from local.servers import serve

import lume_local
from lume_async.models import RunStatus
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.store.records import StoredRun


@pytest.mark.thorough
async def test_what_ends_in_time_ends_and_nothing_else_begins(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows(150))
    async with serve(home, drain=60) as wire:
        first = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(first, "TRANSFORMING")
        second = (await wire.submit("people:v1", "people.csv")).document["id"]
    async with serve(home) as wire:
        run = (await wire.get(first)).document
        assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]
        assert (await wire.until(second))["started_at"] > run["finished_at"]


async def test_what_does_not_end_in_time_begins_anew_with_the_next_server(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home, drain=0.2) as wire:
        run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(run_id, "TRANSFORMING")
    (home / "slow.csv").write_text(slow_rows(3))
    async with serve(home) as wire:
        run = await wire.until(run_id)
    assert run["status"] == "SUCCEEDED", run["metadata"]["error_message"]
    assert run["metadata"]["metrics"]["rows_read"] == 3
    assert [stage["name"] for stage in run["metadata"]["stages"]] == [
        *("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")
    ]


async def test_meanwhile_it_answers_and_says_that_it_is_not_ready(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    server = lume_local.serve(
        home / "flows", home / ".lume", [home], drain=60, max_active=1, api_key="k" * 20
    )
    opened = await server.__aenter__()
    async with opened.client() as client:
        run = await client.run("slow:v1", "slow.csv")
        while run.status == RunStatus.CREATED:
            await run.refresh()
        leaving = asyncio.create_task(server.__aexit__(None, None, None))
        try:
            while await _status(opened.base_url, "/readyz") != 503:
                await asyncio.sleep(0.01)
            assert await _status(opened.base_url, "/livez") == 200
            waiting = await client.run("people:v1", "people.csv")
            await waiting.refresh()
            assert waiting.status == RunStatus.CREATED
            await run.cancel()
        finally:
            await leaving
    async with serve(home) as wire:
        assert (await wire.get(run.id)).document["status"] == "CANCELLED"
        assert (await wire.until(waiting.id))["status"] == "SUCCEEDED"


async def test_a_run_that_is_cancelled_meanwhile_does_not_begin_later(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has a worker: finding the files of a pattern takes its time."""
    looks = asyncio.Event()

    async def job(_: RunPaths, run: StoredRun) -> None:
        looks.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(RunPaths, "job", job)
        server = lume_local.serve(home / "flows", home / ".lume", [home], drain=60, api_key="k" * 20)
        opened = await server.__aenter__()
        async with opened.client() as client:
            run = await client.run("people:v1", "people.csv")
            await looks.wait()
            leaving = asyncio.create_task(server.__aexit__(None, None, None))
            while await _status(opened.base_url, "/readyz") != 503:
                await asyncio.sleep(0.01)
            await run.cancel()
            await leaving
    async with serve(home) as wire:
        assert (await wire.until(run.id))["status"] == "CANCELLED"


async def _status(base_url: str, path: str) -> int:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(f"{base_url}{path}") as answer:
        return answer.status
