"""One run for a try, whatever happened before; the server's count is the judge."""

import pytest
from on_airflow.support import runs, task_try, this_dag

from lume_airflow._following import begin, follow
from lume_airflow._options import RunOptions
from lume_airflow._shared import shared
from lume_airflow.hooks import LumeHook
from lume_async import InvalidRequestError


def options(source: str, **others: object) -> RunOptions:
    return RunOptions(flow_version="customer_cleaner:v1", source_path=source, **others)


@pytest.fixture
async def lume(connection):
    async with shared(await LumeHook().asettings()) as lume:
        yield lume


async def test_submitted_again_it_is_the_same_run(lume, connection, sources) -> None:
    wanted = options(sources.good())
    first, second = await begin(lume.client, wanted, task_try()), await begin(lume.client, wanted, task_try())
    assert first.id == second.id
    assert len(await runs(connection)) == 1


async def test_a_forced_run_is_not_doubled_either(lume, connection, sources) -> None:
    wanted = options(sources.good(), force_rerun=True)
    first = await follow(lume.client, lume.ended, wanted, task_try())
    second = await follow(lume.client, lume.ended, wanted, task_try(tries=2))
    assert first.id == second.id
    assert len(await runs(connection)) == 1


async def test_a_retry_after_a_failure_is_a_new_run(lume, connection, sources) -> None:
    wanted = options(sources.bad())
    first = await follow(lume.client, lume.ended, wanted, task_try())
    assert first.status == "FAILED"
    assert (await begin(lume.client, wanted, task_try())).id == first.id  # the same try
    second = await follow(lume.client, lume.ended, wanted, task_try(tries=2))
    assert second.id != first.id
    assert (await follow(lume.client, lume.ended, wanted, task_try(tries=2))).id == second.id
    assert len(await runs(connection)) == 2


async def test_a_try_that_comes_after_a_success_takes_it(lume, connection, sources) -> None:
    wanted = options(sources.good())
    first = await follow(lume.client, lume.ended, wanted, task_try())
    assert (await follow(lume.client, lume.ended, wanted, task_try(tries=3))).id == first.id
    assert len(await runs(connection)) == 1


async def test_a_cleared_task_processes_the_source_again(lume, connection, sources) -> None:
    wanted = options(sources.good())
    first = await follow(lume.client, lume.ended, wanted, task_try())
    cleared = task_try(epoch=1, cleared=True)
    second = await follow(lume.client, lume.ended, wanted, cleared)
    assert second.id != first.id
    assert (await follow(lume.client, lume.ended, wanted, cleared)).id == second.id
    assert len(await runs(connection)) == 2


async def test_another_dag_run_takes_what_was_processed(lume, connection, sources) -> None:
    wanted = options(sources.good())
    first = await follow(lume.client, lume.ended, wanted, task_try())
    other = await follow(lume.client, lume.ended, wanted, task_try(run_id="backfill__1"))
    assert other.id == first.id
    assert not task_try(run_id="backfill__1").started(other)


async def test_a_failure_of_somebody_else_is_not_ours(lume, connection, sources) -> None:
    """It held the source when we came; then it has left nothing, and it is our turn."""
    source = sources.bad()
    theirs = await lume.client.run("customer_cleaner:v1", source)
    ours = await follow(lume.client, lume.ended, options(source), task_try(), theirs)
    assert ours.id != theirs.id
    assert task_try().started(ours)


async def test_a_run_with_a_known_id_is_not_submitted_again(lume, connection, sources) -> None:
    wanted = options(sources.bad())
    begun = await begin(lume.client, wanted, task_try())
    last = await follow(lume.client, lume.ended, wanted, task_try(), lume.client.attach(begun.id))
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
