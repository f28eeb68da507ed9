"""A handle on one run: waiting, refreshing, cancelling; what it shows and what travels with it."""

import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import lume_async
from lume_async import (
    ApiError,
    Backoff,
    ConfigurationError,
    InvalidRequestError,
    LumeRun,
    NotSupportedError,
    ResponseDecodeError,
    Retry,
    RunFailedError,
    RunMetadata,
    RunNotFoundError,
    RunStatus,
    RunTimeoutError,
    ServerError,
    _api,
)
from lume_async._wire.answers import run_record
from lume_async.models import RunRecord
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, FakeTransport, fake_client, run_json

ONCE = Retry(attempts=1)
EVERY_TEN = Backoff.constant(10)
START = 1_000.0
TERMINAL = ["SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED"]
FAILED = ["FAILED", "CRASHED", "CANCELLED"]
RUNNING = ["CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"]


def shows(status: str, **fields: Any) -> FakeAnswer:
    return FakeAnswer(200, run_json("run_1", status, **fields))


def handle_on(*answers: Any) -> tuple[LumeRun, FakeTransport, FakeClock]:
    """An attached handle; the last answer comes for ever."""
    clock, queue = FakeClock(), list(answers)

    def answer(request: FakeRequest) -> Any:
        return queue.pop(0) if len(queue) > 1 else queue[0]

    client, transport = fake_client(answer, clock=clock, retry=ONCE)
    return client.attach("run_1"), transport, clock


def seen(status: str, **fields: Any) -> LumeRun:
    """A handle without a client, as it was last seen."""
    return LumeRun(None, "run_1", RunRecord("run_1", RunStatus(status), run_json("run_1", status, **fields)))


# What it shows


def test_an_attached_handle_has_seen_nothing() -> None:
    run, transport, _ = handle_on(shows("CREATED"))

    assert run.id == "run_1"
    assert run.status is None
    assert run.metadata == {}
    assert isinstance(run.metadata, RunMetadata)
    assert (run.flow_version, run.source_path, run.run_metadata, run.force_rerun) == (None, None, None, False)
    assert (run.created_at, run.started_at, run.finished_at, run.progress) == (None, None, None, None)
    assert (run.idempotency_key, run.reused) == (None, False)
    assert (run.is_terminal, run.succeeded, run.has_output) == (False, False, False)
    assert (run.mapped_location, run.rejects_location, run.error_message) == (None, None, None)
    assert transport.requests == []


def test_a_handle_shows_the_run() -> None:
    run = seen(
        "PARTIAL_FAILED",
        run_metadata={"batch": 7},
        force_rerun=True,
        started_at="2026-01-01T00:00:01Z",
        finished_at="2026-01-01T02:00:02+02:00",
        progress=1,
        metadata={"target_locations": {"mapped": "/out", "rejects": "/bad"}, "error_message": "2 bad rows"},
    )

    assert (run.flow_version, run.source_path) == ("customer_cleaner:v1", "customers.csv")
    assert (run.run_metadata, run.force_rerun, run.progress) == ({"batch": 7}, True, 1.0)
    assert run.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert run.started_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert run.finished_at == datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert (run.mapped_location, run.rejects_location) == ("/out", "/bad")
    assert run.error_message == "2 bad rows"
    assert run.metadata["target_locations"]["mapped"] == "/out"
    assert run.metadata is run.metadata


@pytest.mark.parametrize("name", ["run_metadata", "flow_version", "source_path", "progress"])
@pytest.mark.parametrize("value", [["x"], None])
def test_a_field_of_another_kind_is_none(name: str, value: Any) -> None:
    assert getattr(seen("CREATED", **{name: value}), name) is None


@pytest.mark.parametrize("name", ["created_at", "started_at", "finished_at"])
@pytest.mark.parametrize("value", ["yesterday", 5, ["x"]])
def test_a_time_that_is_none_says_where(name: str, value: Any) -> None:
    with pytest.raises(ResponseDecodeError, match=rf"@ \$\.{name}"):
        getattr(seen("CREATED", **{name: value}), name)


def test_metadata_of_another_kind_says_where() -> None:
    with pytest.raises(ResponseDecodeError, match=r"expected an object, got str @ \$\.metadata"):
        assert seen("CREATED", metadata="text").metadata


# Waiting


@pytest.mark.parametrize("status", ["SUCCEEDED", "PARTIAL_FAILED"])
async def test_a_wait_updates_the_handle_and_returns_it(status: str) -> None:
    run, transport, _ = handle_on(shows("CREATED"), shows("TRANSFORMING"), shows(status))

    assert await run.wait(poll_interval=EVERY_TEN) is run
    assert run.status == status
    assert len(transport.requests) == 3


@pytest.mark.parametrize("status", FAILED)
async def test_a_run_that_failed_is_an_error(status: str) -> None:
    run, _, _ = handle_on(shows(status, metadata={"error_message": "no such column"}))

    with pytest.raises(RunFailedError, match=f"run run_1 ended {status}: no such column") as caught:
        await run.wait()

    assert caught.value.run is run
    assert run.status == status


@pytest.mark.parametrize("metadata", [{}, None, "text", ["list"], 5, {"error_message": None}])
async def test_a_run_that_failed_is_an_error_whatever_its_metadata(metadata: Any) -> None:
    run, _, _ = handle_on(shows("FAILED", metadata=metadata))

    with pytest.raises(RunFailedError):
        await run.wait()


@pytest.mark.parametrize("status", TERMINAL)
async def test_an_ended_run_is_not_asked_for_again(status: str) -> None:
    run, transport, _ = handle_on(shows(status))
    await run.refresh()
    transport.requests.clear()

    if status in FAILED:
        with pytest.raises(RunFailedError):
            await run.wait()
    else:
        await run.wait()

    assert transport.requests == []


async def test_the_handle_shows_what_was_seen_last_all_along() -> None:
    statuses: list[Any] = []
    run, transport, _ = handle_on(shows("CREATED"), shows("TRANSFORMING"), shows("SUCCEEDED"))
    answer = transport._answer

    def spied(request: FakeRequest) -> Any:
        statuses.append(run.status)
        return answer(request)

    transport._answer = spied
    await run.wait()

    assert statuses == [None, "CREATED", "TRANSFORMING"]


@pytest.mark.parametrize("timeout", [0, 25, timedelta(seconds=25)])
async def test_a_wait_that_is_too_short(timeout: Any) -> None:
    run, transport, clock = handle_on(shows("TRANSFORMING"))
    number = 25 if timeout else 0

    with pytest.raises(
        RunTimeoutError, match=f"did not end within {number} s \\(status: TRANSFORMING\\)"
    ) as caught:
        await run.wait(timeout=timeout, poll_interval=EVERY_TEN)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.run is run
    assert caught.value.__cause__ is None
    assert clock.now() - START == number
    assert len(transport.requests) == (4 if timeout else 1)


async def test_the_default_timeout_is_an_hour() -> None:
    run, _, clock = handle_on(shows("TRANSFORMING"))

    with pytest.raises(RunTimeoutError):
        await run.wait(poll_interval=600)

    assert clock.now() - START == 3_600


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_a_retry_after_past_the_deadline_ends_the_wait_without_a_last_look(status: int) -> None:
    body = run_json("run_1", "TRANSFORMING") if status == 200 else {}
    run, transport, _ = handle_on(FakeAnswer(status, body, {"Retry-After": "600"}))

    with pytest.raises(RunTimeoutError, match=r"asked us not to poll for 600 s, which is past the deadline"):
        await run.wait(timeout=60, poll_interval=EVERY_TEN)

    assert len(transport.requests) == 1


# Refreshing, cancelling


async def test_refresh_looks_once() -> None:
    run, transport, _ = handle_on(shows("CREATED"), shows("TRANSFORMING", metadata={"error_message": "x"}))
    await run.refresh()
    first = run.metadata
    await run.refresh()

    assert run.status == "TRANSFORMING"
    assert (first, run.metadata) == ({}, {"error_message": "x"})
    assert len(transport.requests) == 2


@pytest.mark.parametrize(("status", "then"), [(202, "TRANSFORMING"), (202, "CANCELLED"), (200, "SUCCEEDED")])
async def test_cancel_asks_and_shows_what_the_server_says(status: int, then: str) -> None:
    run, transport, _ = handle_on(FakeAnswer(status, run_json("run_1", then)))

    await run.cancel()

    assert run.status == then
    assert [(request.method, request.path) for request in transport.requests] == [
        ("POST", "/v1/runs/run_1/cancel")
    ]


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (404, None, NotSupportedError),  # a router that knows no such path, of the server or of a gateway
        (404, "not-found", NotSupportedError),
        (405, None, NotSupportedError),
        (405, "method-not-allowed", NotSupportedError),
        (501, None, NotSupportedError),
        (404, "run-not-found", RunNotFoundError),
        (409, "run-in-progress", InvalidRequestError),
        (502, None, ServerError),
        (503, "unavailable", ServerError),
    ],
)
async def test_a_server_that_cannot_cancel_is_not_an_unknown_run(
    status: int, kind: str | None, expected: type[ApiError]
) -> None:
    body = b"<html>" if kind is None else {"type": f"urn:lume:problem:{kind}", "detail": "no"}
    run, transport, _ = handle_on(FakeAnswer(status, body))

    with pytest.raises(ApiError) as caught:
        await run.cancel()

    assert type(caught.value) is expected
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("offered", "advice"),
    [
        ({}, "it keeps running: wait again"),
        ({"Lume-Capabilities": "wait"}, "it keeps running: wait again"),
        ({"Lume-Capabilities": "wait, cancel"}, "it keeps running: wait again or cancel it"),
    ],
)
async def test_a_timeout_advises_what_the_server_offers(offered: dict[str, str], advice: str) -> None:
    run, _, _ = handle_on(FakeAnswer(200, run_json("run_1", "TRANSFORMING"), offered))

    with pytest.raises(RunTimeoutError) as waited:
        await run.wait(timeout=0)
    with pytest.raises(RunTimeoutError) as watched:
        async for _ in run.watch(timeout=0):
            pass

    assert str(waited.value).endswith(advice)
    assert str(watched.value).endswith(advice)


@pytest.mark.parametrize("ended", TERMINAL)
@pytest.mark.parametrize("later", RUNNING)
async def test_an_ended_run_never_goes_back(ended: str, later: str) -> None:
    run, _, _ = handle_on(shows(ended, metadata={"error_message": "kept"}), shows(later))
    await run.refresh()
    await run.refresh()

    assert run.status == ended
    assert run.error_message == "kept"


def test_raise_for_status() -> None:
    for status in [*RUNNING, "SUCCEEDED", "PARTIAL_FAILED", "PAUSED"]:
        seen(status).raise_for_status()
    LumeRun(None, "run_1").raise_for_status()

    for run in [*map(seen, FAILED), seen("EXPIRED", finished_at="2026-01-01T00:00:00Z")]:
        with pytest.raises(RunFailedError) as caught:
            run.raise_for_status()
        assert caught.value.run is run


# Identity


def test_handles_are_equal_by_id() -> None:
    assert seen("CREATED") == seen("FAILED")
    assert LumeRun(None, "a") != LumeRun(None, "b")
    assert LumeRun(None, "a") != "a"
    assert {seen("CREATED"), seen("FAILED"), LumeRun(None, "b")} == {
        LumeRun(None, "run_1"),
        LumeRun(None, "b"),
    }
    assert hash(seen("CREATED")) == hash(seen("FAILED"))


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (LumeRun(None, "run_1"), "LumeRun('run_1', status=None)"),
        (seen("CREATED", run_metadata={"secret": "x"}), "LumeRun('run_1', status='CREATED')"),
        (seen("PAUSED"), "LumeRun('run_1', status='PAUSED')"),
    ],
)
def test_a_repr_is_short(run: LumeRun, text: str) -> None:
    assert repr(run) == text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
async def test_what_travels_is_data_only(protocol: int) -> None:
    client, _ = fake_client([FakeAnswer(201, run_json("run_1", "CREATED"))], api_key="canary-key")
    run = await client.run("f", "s", idempotency_key="mine")

    pickled = pickle.dumps(run, protocol)
    back = pickle.loads(pickled)

    assert b"canary-key" not in pickled
    assert b"lume.test" not in pickled
    assert back == run
    assert (back.status, back.metadata, back.idempotency_key, back.reused) == ("CREATED", {}, "mine", False)


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("run", [LumeRun(None, "run_1"), seen("EXPIRED", metadata={"a": [1]})], ids=repr)
def test_a_handle_copies(run: LumeRun, copier: Any) -> None:
    back = copier(run)

    assert back == run
    assert (back.status, back.metadata) == (run.status, run.metadata)


@pytest.fixture
def default_client() -> Iterator[FakeTransport]:
    client, transport = fake_client(lambda request: shows("SUCCEEDED"))
    before = dict(_api._default)
    _api._default["client"] = client
    yield transport
    _api._default.clear()
    _api._default.update(before)


async def test_an_unpickled_handle_works_through_the_default_client(default_client: FakeTransport) -> None:
    back: LumeRun = pickle.loads(pickle.dumps(seen("CREATED")))

    assert (await back.wait()).succeeded
    assert len(default_client.requests) == 1


async def test_a_handle_of_the_other_face_is_bound_to_its_client() -> None:
    client, transport = fake_client(lambda request: shows("SUCCEEDED"))
    back: LumeRun = pickle.loads(pickle.dumps(seen("CREATED")))._bind(lambda: client)

    await back.refresh()

    assert len(transport.requests) == 1


async def test_without_any_client_a_handle_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lume_async")

    with pytest.raises(ConfigurationError, match="has no client"):
        await seen("CREATED").refresh()


# The documentation's own recipe


@pytest.mark.parametrize("status", TERMINAL)
async def test_the_recipe_returns_the_run_in_whatever_terminal_status(status: str) -> None:
    run, _, _ = handle_on(shows("CREATED"), shows(status))
    client = lume_async.Client.__new__(lume_async.Client)
    client._sender = run._connected

    assert (await client.wait_for_run_completion("run_1")).status == status


@pytest.mark.parametrize(
    ("arguments", "delays"),
    [
        ({}, [5, 10, 20, 40, 60, 60, 60, 60, 60]),
        ({"max_attempts": 1}, []),
        ({"max_attempts": 3, "initial_delay": 1}, [1, 2]),
        ({"max_attempts": 4, "initial_delay": timedelta(seconds=2)}, [2, 4, 8]),
        ({"max_attempts": 4, "max_delay": 7}, [5, 7, 7]),
        ({"max_attempts": 3, "initial_delay": 90}, [60, 60]),
        ({"max_attempts": 3, "initial_delay": 0}, [0, 0]),
        ({"timeout": 50}, [5, 10, 20, 15]),
        ({"timeout": 0}, []),
    ],
)
async def test_the_recipes_delays(arguments: dict[str, Any], delays: list[float]) -> None:
    clock = FakeClock()
    headers = {"Lume-Capabilities": "wait", "ETag": '"e"'}
    client, transport = fake_client(
        lambda request: FakeAnswer(200, run_json("run_1", "TRANSFORMING"), headers), clock=clock
    )

    with pytest.raises(RunTimeoutError) as caught:
        await client.wait_for_run_completion("run_1", **arguments)

    assert clock.sleeps == delays
    assert len(transport.requests) == len(delays) + 1
    assert all("Prefer" not in request.headers for request in transport.requests)
    assert caught.value.run.status == "TRANSFORMING"


async def test_the_recipe_names_the_last_error() -> None:
    client, _ = fake_client([FakeAnswer(500)] * 3, retry=ONCE)

    with pytest.raises(RunTimeoutError, match="after 3 polls") as caught:
        await client.wait_for_run_completion("run_1", 3)

    assert isinstance(caught.value.__cause__, ServerError)


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ({"max_attempts": 2, "timeout": 120}, "after 2 polls"),
        ({"max_attempts": 1, "timeout": 120}, "after 1 poll"),
        ({"max_attempts": 5, "timeout": 20}, "within 20 s"),
        ({"max_attempts": 1, "timeout": 0}, "within 0 s"),
        ({"max_attempts": 1}, "after 1 poll"),
    ],
)
async def test_the_recipe_names_the_limit_that_ended_it(arguments: dict[str, Any], limit: str) -> None:
    client, _ = fake_client(lambda _: FakeAnswer(200, run_json("run_1", "TRANSFORMING")))

    with pytest.raises(RunTimeoutError, match=f"did not end {limit} [(]"):
        await client.wait_for_run_completion("run_1", **arguments)


async def test_to_dict_is_the_run_as_the_server_described_it() -> None:
    client, _ = fake_client([FakeAnswer(200, run_json("run_1", "SUCCEEDED", extra=[1]))])
    assert client.attach("run_1").to_dict() == {"id": "run_1"}
    assert (await client.run_status("run_1")).to_dict() == run_json("run_1", "SUCCEEDED", extra=[1])


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
async def test_a_copy_works_through_the_same_client(again: Callable[[LumeRun], LumeRun]) -> None:
    client, transport = fake_client([FakeAnswer(200, run_json("run_1", "SUCCEEDED"))] * 2)
    run = again(await client.run_status("run_1"))
    await run.refresh()
    assert run.succeeded
    assert len(transport.requests) == 2


def test_metadata_of_many_levels_pickles() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"level": deep}
    run = LumeRun(None, "run_1", run_record(run_json("run_1", "FAILED", metadata=deep)))

    for thing in (run, RunFailedError("failed", run=run)):
        pickle.loads(pickle.dumps(thing))
    assert pickle.loads(pickle.dumps(run)).metadata == deep
