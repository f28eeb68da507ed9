"""as_completed and wait_all: one outcome per item, one look per id, the deadline, early exits."""

import asyncio
from typing import Any

import pytest
from fake_service import Service, client_of, other_tasks

import lume_sync
from lume_async import (
    ApiConnectionError,
    ApiError,
    ClientClosedError,
    RunFailedError,
    RunRequest,
    RunTimeoutError,
    ServerError,
)
from lume_async._wire.retry import LONGEST_FLOOR
from lume_async.testing import FakeAnswer, run_json


async def test_outcomes_come_in_the_order_in_which_runs_end() -> None:
    service = Service()
    client = client_of(service)
    slow = await client.run_status("slow")
    service.begun["quick"] = -100.0
    outcomes = [outcome async for outcome in client.as_completed([slow, "quick"])]
    assert [outcome.run_id for outcome in outcomes] == ["quick", "slow"]
    assert outcomes[1].run is slow
    assert not other_tasks()


async def test_one_outcome_per_item_and_one_look_per_id() -> None:
    service = Service(lasts=0.0)
    outcomes = await client_of(service).wait_all(["a", "b", "a", "a"])
    assert [outcome.run_id for outcome in outcomes] == ["a", "b", "a", "a"]
    assert service.looks == {"a": 1, "b": 1}


async def test_failed_runs_are_outcomes_with_a_run() -> None:
    service = Service(status="FAILED", lasts=0.0)
    (outcome,) = await client_of(service).wait_all(["a"])
    assert outcome.error is None
    with pytest.raises(RunFailedError):
        outcome.result().raise_for_status()


async def test_past_the_deadline_each_unfinished_run_is_an_outcome() -> None:
    service = Service(lasts=100.0)
    service.begun["done"] = -100.0
    outcomes = await client_of(service).wait_all(["done", "late", "late"], timeout=10)
    assert outcomes[0].result().succeeded
    for outcome in outcomes[1:]:
        assert isinstance(outcome.error, RunTimeoutError)
        assert outcome.error.run.status == "TRANSFORMING"
    assert service.clock.now() < 12
    assert not other_tasks()


async def test_a_timeout_of_zero_is_one_look() -> None:
    service = Service(lasts=100.0)
    service.begun["done"] = -100.0
    outcomes = await client_of(service).wait_all(["done", "late"], timeout=0)
    assert outcomes[0].result().succeeded
    assert isinstance(outcomes[1].error, RunTimeoutError)
    assert service.looks["done"] == 1


@pytest.mark.parametrize("status", [200, 503])
async def test_no_last_look_where_the_server_wants_to_be_left_alone_for_longer(status: int) -> None:
    service = Service(lasts=100.0)
    service.broken["a"] = FakeAnswer(status, run_json("a", "TRANSFORMING"), {"Retry-After": "30"})
    (outcome,) = await client_of(service).wait_all(["a"], timeout=10)
    assert isinstance(outcome.error, RunTimeoutError)
    assert ("it keeps running" in str(outcome.error)) == (status == 200), (
        "nothing is known of a run never seen"
    )
    cause = outcome.error.__cause__
    assert (cause and cause.status_code) == (None if status == 200 else 503)  # type: ignore[attr-defined]
    assert service.looks["a"] == 1
    assert service.clock.now() < 11.0


async def test_the_last_failure_is_the_cause_of_a_timeout() -> None:
    service = Service(lasts=100.0)
    client = client_of(service)
    outcomes = client.run_many([RunRequest("f:v1", "s")], timeout=10)
    service.broken["run_0"] = ApiConnectionError("refused")
    service.broken["b"] = FakeAnswer(502)
    for outcome in [*await client.wait_all(["b", "b"], timeout=10), await anext(outcomes)]:
        assert isinstance(outcome.error, RunTimeoutError)
        cause = outcome.error.__cause__
        assert isinstance(cause, ApiConnectionError if outcome.run_id == "run_0" else ServerError)
        assert str(outcome.error).endswith(f"; the last error was: {cause}")
        assert cause.__traceback__ is None, "which would keep frames for each run"


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_one_wrong_retry_after_keeps_nobody_waiting_for_ever(status: int) -> None:
    service = Service(lasts=0.0)
    service.broken["a"] = FakeAnswer(status, run_json("a", "TRANSFORMING"), {"Retry-After": "99999999999"})

    async def mend() -> None:
        await service.clock.sleep(50.0)
        del service.broken["a"]

    mending = asyncio.ensure_future(mend())
    (outcome,) = await client_of(service).wait_all(["a"])
    await mending
    assert outcome.result().succeeded
    assert service.clock.now() == pytest.approx(LONGEST_FLOOR, abs=5)
    assert service.looks["a"] == 2


async def test_the_last_look_follows_a_pause_that_ends_before_the_deadline() -> None:
    service = Service(lasts=9.5)
    service.broken["a"] = FakeAnswer(200, run_json("a", "TRANSFORMING"), {"Retry-After": "9"})
    (outcome,) = await client_of(service).wait_all(["a"], timeout=10, poll_interval=60)
    assert isinstance(outcome.error, RunTimeoutError)
    assert service.looks["a"] == 2


@pytest.mark.parametrize("wrong", ["run_1", [5], [None], ["a", object()], None, 7])
async def test_what_is_no_list_of_runs_is_told_before_anything_is_sent(wrong: Any) -> None:
    service = Service()
    client = client_of(service)
    with pytest.raises(TypeError):
        client.as_completed(wrong)
    with pytest.raises(TypeError):
        await client.wait_all(wrong)
    with pytest.raises(TypeError):
        lume_sync.Client._wrap(client).as_completed(wrong)
    assert not service.log


async def test_what_is_no_run_can_not_be_watched() -> None:
    client = client_of(Service())
    other: Any = lume_sync.Client._wrap(client).attach("run_1")
    async with client.monitor() as monitor:
        for wrong in (5, None, other):
            with pytest.raises(TypeError, match="a run must be one of this client, or a run ID"):
                monitor.add(wrong)
        assert monitor.pending == 0


async def test_nothing_to_wait_for() -> None:
    assert await client_of(Service()).wait_all([]) == []


async def test_closing_the_client_ends_the_iteration_with_its_error() -> None:
    service = Service(lasts=100.0)
    service.begun["done"] = -100.0
    client = client_of(service)
    outcomes = client.as_completed(["done", "late"])
    assert (await anext(outcomes)).run_id == "done"
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await anext(outcomes)
    assert not other_tasks()


async def test_closing_the_client_after_the_last_outcome_ends_nothing() -> None:
    client = client_of(Service(lasts=0.0))
    outcomes = client.as_completed(["a"])
    assert (await anext(outcomes)).run_id == "a"
    await client.aclose()
    assert [outcome async for outcome in outcomes] == []


async def test_each_outcome_has_an_exception_of_its_own() -> None:
    service = Service()
    service.broken["a"] = FakeAnswer(403, {"detail": "not yours"})
    one, two = await client_of(service).wait_all(["a", "a"])
    assert isinstance(one.error, ApiError)
    assert one.error is not two.error
