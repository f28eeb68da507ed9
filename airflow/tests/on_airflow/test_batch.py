"""Many sources in one task: each once, over restarts."""

import asyncio

import anyio
import pytest
from on_airflow.support import Keyless, runs, task_try

from lume_airflow._batch import Batch
from lume_airflow._identity import TaskTry
from lume_airflow._options import BatchOptions
from lume_airflow._work import batch_to_end, settled
from lume_airflow.hooks import LumeHook
from lume_async.testing import fake_client


def options(paths: list[str], **others: object) -> BatchOptions:
    return BatchOptions(flow_version="customer_cleaner:v1", source_paths=paths, **others)


async def work(wanted: BatchOptions, task: TaskTry | None = None, deadline: float | None = None) -> dict:
    lines: list[str] = []
    settings = await LumeHook().asettings()
    work = batch_to_end(settings, wanted, task or task_try(), lines.append, deadline=deadline)
    return await settled(work)


async def test_counts_and_places(connection, sources) -> None:
    paths = [*(sources.good(f"{n}.csv") for n in range(4)), sources.partial()]
    result = (await work(options(paths)))["result"]
    assert result["statuses"] == {"SUCCEEDED": 4, "PARTIAL_FAILED": 1}
    assert (result["sources"], result["partial"], result["failed"], result["not_started"]) == (5, 1, 0, 0)
    assert (result["rows_read"], result["rows_mapped"], result["rows_rejected"]) == (41, 40, 1)
    assert len(result["mapped_locations"]) == 5
    assert sum(result["reject_reasons"].values()) == 1


async def test_started_anew_it_finds_its_runs(connection, sources) -> None:
    wanted = options([sources.good(f"{n}.csv") for n in range(6)], force_rerun=True)
    first = asyncio.ensure_future(work(wanted))
    with anyio.fail_after(30):
        while len(await runs(connection)) < 3:
            await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    result = (await work(wanted))["result"]
    assert result["statuses"] == {"SUCCEEDED": 6}
    assert len(await runs(connection)) == 6


async def test_a_source_that_is_named_twice_is_processed_once(connection, sources) -> None:
    path = sources.good()
    result = (await work(options([path, path])))["result"]
    assert result["statuses"] == {"SUCCEEDED": 2}
    assert len(await runs(connection)) == 1


async def test_beyond_the_limit_nothing_more_is_submitted(connection, sources) -> None:
    paths = [sources.bad(), *(sources.good(f"{n}.csv") for n in range(5))]
    event = await work(options(paths, max_active=1))
    assert "max_failures is 0" in event["error"]
    assert not event["final"]
    assert event["result"]["not_started"] == 5
    assert event["result"]["failures"][0]["source_path"] == paths[0]
    assert len(await runs(connection)) == 1


@pytest.mark.parametrize("limit", [1, None])
async def test_within_the_limit_it_succeeds(connection, sources, limit) -> None:
    event = await work(options([sources.bad(), sources.good()], max_failures=limit))
    assert "error" not in event
    assert event["result"]["statuses"] == {"FAILED": 1, "SUCCEEDED": 1}


async def test_a_retry_goes_on_with_what_has_no_output(connection, sources) -> None:
    paths = [sources.bad(), sources.good()]
    wanted = options(paths, max_failures=5)
    await work(wanted)
    sources.good("bad.csv")  # somebody has mended the file
    event = await work(wanted, task_try(tries=2))
    assert event["result"]["statuses"] == {"SUCCEEDED": 2}
    assert len(await runs(connection)) == 3


async def test_no_sources_are_no_runs(connection) -> None:
    assert (await work(options([])))["result"]["sources"] == 0
    assert await runs(connection) == []


async def test_past_the_deadline_what_was_started_is_cancelled(connection, sources) -> None:
    wanted = options([sources.good(f"{n}.csv") for n in range(3)], timeout=0.0)
    event = await work(wanted, deadline=0.0)
    assert "not ended" in event["error"]
    with anyio.fail_after(30):
        while any(not run.is_terminal for run in await runs(connection)):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("max_active", [1, 2, 100])
async def test_a_forced_batch_finds_its_runs_where_the_server_does_not_know_keys(max_active) -> None:
    client, _ = fake_client(server := Keyless())
    task, paths = task_try(tries=2), ["a.csv", "b.csv", "c.csv", "d.csv", "a.csv"]
    wanted = options(paths, force_rerun=True, max_active=max_active)
    for source, generation in (("a.csv", 0), ("b.csv", 0), ("c.csv", 0), ("c.csv", 1)):
        request = wanted.request(task, source, task.key(generation, f"{source}#0"))
        await client.run(request.flow_version, source, request.run_metadata, True)
    (c1, c0, b0, _a0) = server.runs
    c0["status"] = b0["status"] = "FAILED"
    c1["status"], server.most = "SUCCEEDED", 0
    result = await Batch(client, wanted, task, print).run(60)
    assert result.to_dict()["statuses"] == {"SUCCEEDED": 5}
    begun = [run["source_path"] for run in reversed(server.runs)]
    assert sorted(begun[:4]) == ["a.csv", "b.csv", "c.csv", "c.csv"]
    assert sorted(begun[4:]) == ["a.csv", "b.csv", "d.csv"]  # b failed in an earlier try
    assert 0 < server.most <= max_active


async def test_what_fails_past_the_deadline_is_not_begun_again() -> None:
    client, _ = fake_client(server := Keyless())
    task, wanted = task_try(tries=2), options(["a.csv"], force_rerun=True)
    request = wanted.request(task, "a.csv", task.key(0, "a.csv#0"))
    await client.run(request.flow_version, "a.csv", request.run_metadata, True)
    server.runs[0]["status"] = "FAILED"
    result = await Batch(client, wanted, task, print).run(0)
    assert result.failed + (result.sources - result.summary.outcomes) == 1
    assert len(server.runs) == 1
