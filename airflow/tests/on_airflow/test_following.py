"""One run for a try, whatever happened before; the server's count is the judge."""

import pytest
from on_airflow.support import Keyless, runs, task_try, this_dag

from lume_airflow._options import BatchOptions, RunOptions
from lume_airflow._shared import shared
from lume_airflow._started import cancel_started
from lume_airflow._work import begin, follow
from lume_airflow.hooks import LumeHook
from lume_async import DuplicateRunError, InvalidRequestError
from lume_async.testing import fake_client, run_json


def options(source: str, **others: object) -> RunOptions:
    return RunOptions(flow_version="customer_cleaner:v1", source_path=source, **others)


@pytest.fixture
async def lume(connection):
    async with shared(await LumeHook().asettings()) as lume:
        yield lume


async def test_a_forced_run_is_not_doubled_either(lume, connection, sources) -> None:
    wanted = options(sources.good(), force_rerun=True)
    first = await follow(lume.client, lume.wait, wanted, task_try())
    second = await follow(lume.client, lume.wait, wanted, task_try(tries=2))
    assert first.id == second.id
    assert len(await runs(connection)) == 1


async def test_a_retry_after_a_failure_is_a_new_run(lume, connection, sources) -> None:
    wanted = options(sources.bad())
    first = await follow(lume.client, lume.wait, wanted, task_try())
    assert first.status == "FAILED"
    assert (await begin(lume.client, wanted, task_try())).id == first.id  # the same try
    second = await follow(lume.client, lume.wait, wanted, task_try(tries=2))
    assert second.id != first.id
    assert (await follow(lume.client, lume.wait, wanted, task_try(tries=2))).id == second.id
    assert len(await runs(connection)) == 2


async def test_a_cleared_task_processes_the_source_again(lume, connection, sources) -> None:
    wanted = options(sources.good())
    first = await follow(lume.client, lume.wait, wanted, task_try())
    cleared = task_try(epoch=1, cleared=True)
    second = await follow(lume.client, lume.wait, wanted, cleared)
    assert second.id != first.id
    assert (await follow(lume.client, lume.wait, wanted, cleared)).id == second.id
    assert len(await runs(connection)) == 2


async def test_another_dag_run_takes_what_was_processed(lume, connection, sources) -> None:
    wanted = options(sources.good())
    first = await follow(lume.client, lume.wait, wanted, task_try())
    other = await follow(lume.client, lume.wait, wanted, task_try(run_id="backfill__1"))
    assert other.id == first.id
    assert not task_try(run_id="backfill__1").started(other)


async def test_a_changed_source_is_not_taken_for_what_was_processed(lume, connection, sources) -> None:
    """The same name every month: another DAG run must not report the old output as its own."""
    first = await follow(lume.client, lume.wait, options(sources.good()), task_try())
    wanted = options(sources.partial("good.csv"))
    with pytest.raises(DuplicateRunError) as caught:
        await follow(lume.client, lume.wait, wanted, task_try(run_id="next_month"))
    assert (caught.value.run_id, caught.value.source_changed) == (first.id, True)
    again = await follow(lume.client, lume.wait, wanted, task_try(tries=2))
    assert again.id == first.id  # a retry finds its own run, whatever the file is by now
    assert len(await runs(connection)) == 1


async def test_a_failure_of_somebody_else_is_not_ours(lume, connection, sources) -> None:
    """It held the source when we came; then it has left nothing, and it is our turn."""
    source = sources.bad()
    theirs = await lume.client.run("customer_cleaner:v1", source)
    ours = await follow(lume.client, lume.wait, options(source), task_try(), theirs)
    assert ours.id != theirs.id
    assert task_try().started(ours)


async def test_a_run_with_a_known_id_is_not_submitted_again(lume, connection, sources) -> None:
    wanted = options(sources.bad())
    begun = await begin(lume.client, wanted, task_try())
    last = await follow(lume.client, lume.wait, wanted, task_try(), lume.client.attach(begun.id))
    assert (last.id, str(last.status)) == (begun.id, "FAILED")
    assert len(await runs(connection)) == 1


async def test_a_request_that_changed_under_its_key_is_refused(lume, connection, sources) -> None:
    await begin(lume.client, options(sources.good()), task_try())
    with pytest.raises(InvalidRequestError):
        await begin(lume.client, options(sources.good("other.csv")), task_try())
    assert len(await runs(connection)) == 1


async def test_the_run_says_where_it_comes_from(lume, connection, sources) -> None:
    run = await begin(lume.client, options(sources.good(), run_metadata={"team": "a"}), task_try())
    (seen,) = await runs(connection)
    assert seen.run_metadata["team"] == "a"
    assert seen.run_metadata["airflow"]["dag_id"] == this_dag()
    assert task_try().started(run)


async def test_a_forced_run_is_looked_for_where_the_server_does_not_know_its_key() -> None:
    server = Keyless()
    client, _ = fake_client(server)
    wanted = options("a.csv", force_rerun=True)
    first = await begin(client, wanted, task_try())
    server.runs.insert(0, run_json("run_x", "TRANSFORMING", source_path="a.csv"))
    assert (await begin(client, wanted, task_try(tries=2))).id == first.id
    assert len(server.runs) == 2

    server.runs[1]["status"] = "FAILED"  # of an earlier try: the next one follows, once
    second = await begin(client, wanted, task_try(tries=2))
    assert (await begin(client, wanted, task_try(tries=2))).id == second.id != first.id
    cleared = options("a.csv"), task_try(epoch=1, cleared=True)
    third = await begin(client, *cleared)
    assert (await begin(client, *cleared)).id == third.id
    assert len(server.runs) == 4


async def test_without_a_list_of_runs_it_is_submitted() -> None:
    client, _ = fake_client(Keyless(lists=False))
    assert (await begin(client, options("a.csv", force_rerun=True), task_try())).id == "run_0"


async def test_the_layout_is_sent_and_one_that_the_version_lacks_is_refused(
    lume, connection, sources
) -> None:
    with pytest.raises(InvalidRequestError, match="layout: customer_cleaner:v1 has no layouts"):
        await begin(lume.client, options(sources.good(), layout="shop"), task_try())
    of_many = BatchOptions(flow_version="customer_cleaner:v1", source_paths=["a.csv"], layout="shop")
    assert of_many.request(task_try(), "a.csv", "key").layout == "shop"


@pytest.mark.parametrize("batch", [True, False])
async def test_of_a_cleared_task_only_the_runs_before_are_cancelled(batch) -> None:
    """Airflow begins it anew within the second, while its killed try still looks for what it may have left."""
    client, _ = fake_client(server := Keyless())
    place = {"flow_version": "customer_cleaner:v1", "force_rerun": True}
    wanted = BatchOptions(source_paths=["a.csv"], **place) if batch else options("a.csv", force_rerun=True)
    item = "a.csv#0" if batch else ""
    before = task_try(tries=2)
    for task, generation in (
        (before, 0),
        (before, 1),
        (task_try(tries=3), 2),
        (task_try(epoch=1), 0),
        (task_try(map_index=1), 0),
    ):
        request = wanted.request(task, "a.csv", task.key(generation, item))
        await client.run(request.flow_version, request.source_path, request.run_metadata, True)
    assert set(await cancel_started(client, wanted, before, sure=True)) == {"run_0", "run_1"}
    assert [run["status"] for run in server.runs] == ["TRANSFORMING"] * 3 + ["CANCELLED"] * 2
