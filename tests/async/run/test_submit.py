"""Submitting once: whose run a duplicate names, and what is sent at all."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from lume_async import (
    ApiError,
    DuplicateRunError,
    InvalidRequestError,
    LumeRun,
)
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, fake_client, run_json

FLOW, SOURCE = "customer_cleaner:v1", "customers.csv"


class Server:
    """The contract's `POST /v1/runs`, in memory, with answers that get lost.

    Args:
        capabilities: the header's text; None sends none, as an old server does.
        loses: what comes in place of the first answers; each item is (committed, what the client sees).
    """

    def __init__(self, *loses: tuple[bool, Any], capabilities: str | None = "idempotency, wait") -> None:
        self.clock = FakeClock()
        self.loses = list(loses)
        self.capabilities = capabilities
        self.runs: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, tuple[str, Any]] = {}
        self.source_changed: Any = None

    def add(self, *, age: float = 0.0, body: dict[str, Any] | None = None, **fields: Any) -> str:
        """A run that was made `age` seconds ago."""
        run_id = f"run_{len(self.runs) + 1}"
        moment = datetime.fromtimestamp(self.clock.wall() - age, UTC)
        made = {"run_metadata": None, "created_at": moment.isoformat(), **(body or {}), **fields}
        self.runs[run_id] = run_json(run_id, made.pop("status", "CREATED"), **made)
        return run_id

    def __call__(self, request: FakeRequest) -> FakeAnswer | Exception:
        self.clock.advance(0.25)
        if request.path == "/healthz":
            return self.answer(200, {})
        if request.method == "GET":
            run = self.runs.get(request.path.removeprefix("/v1/runs/"))
            return self.answer(200, run) if run else self.answer(404, {})
        committed, seen = self.loses.pop(0) if self.loses else (True, None)
        answer = self.submit(request) if committed else None
        self.clock.advance(0.25)
        return seen or answer or self.answer(500, {})

    def submit(self, request: FakeRequest) -> FakeAnswer:
        key, body = request.headers["Idempotency-Key"], request.json()
        if "idempotency" in (self.capabilities or "") and key in self.by_key:
            run_id, before = self.by_key[key]
            return self.answer(200, self.runs[run_id]) if body == before else self.answer(422, {})
        holder = next((run for run in self.runs.values() if run["source_path"] == body["source_path"]), None)
        if holder and not body["force_rerun"]:
            return self.answer(
                409, {"title": "duplicate", "run_id": holder["id"], "source_changed": self.source_changed}
            )
        run_id = self.add(body=body)
        self.by_key[key] = (run_id, body)
        return self.answer(201, self.runs[run_id])

    def answer(self, status: int, body: Any) -> FakeAnswer:
        headers = {}
        if self.capabilities is not None:
            headers["Lume-Capabilities"] = self.capabilities
        moment = datetime.fromtimestamp(int(self.clock.wall()), UTC)
        headers["Date"] = format_datetime(moment, usegmt=True)
        return FakeAnswer(status, body, headers)


class Submitted:
    """What a submission came to, and what it sent."""

    def __init__(self, outcome: LumeRun | Exception, requests: list[FakeRequest]) -> None:
        self.run = outcome if isinstance(outcome, LumeRun) else None
        self.error = None if self.run else outcome
        self.sent = [f"{request.method} {request.path}" for request in requests]


async def submitted(server: Server, **options: Any) -> Submitted:
    client, transport = fake_client(server, clock=server.clock)
    try:
        outcome: LumeRun | Exception = await client.run(FLOW, SOURCE, **options)
    except ApiError as error:
        outcome = error
    return Submitted(outcome, transport.requests)


# A 409: whose run is it?


@pytest.mark.parametrize("on_duplicate", ["raise", "attach"])
@pytest.mark.parametrize("source_changed", [True, False, None, "yes", 1])
async def test_a_source_that_was_changed_is_not_attached_to(source_changed: Any, on_duplicate: Any) -> None:
    server = Server()
    server.add()
    server.source_changed = source_changed

    done = await submitted(server, on_duplicate=on_duplicate)

    if on_duplicate == "attach" and source_changed is not True:
        assert done.run is not None
        assert done.run.reused
        return
    assert isinstance(done.error, DuplicateRunError)
    assert done.error.source_changed is (source_changed if isinstance(source_changed, bool) else None)
    assert done.sent == ["POST /v1/runs"]


@pytest.mark.parametrize("on_duplicate", ["raise", "attach"])
async def test_ones_own_run_is_found_after_a_lost_answer_also_where_the_source_was_changed(
    on_duplicate: Any,
) -> None:
    server = Server((True, FakeAnswer(502)), capabilities=None)
    server.source_changed = True

    done = await submitted(server, on_duplicate=on_duplicate)

    assert done.run is not None
    assert done.run.reused is False


async def test_another_ones_run_after_a_lost_answer_is_not_attached_to_where_the_source_was_changed() -> None:
    server = Server((False, FakeAnswer(502)), capabilities=None)
    server.add(age=3_600)
    server.source_changed = True

    done = await submitted(server, on_duplicate="attach")

    assert isinstance(done.error, DuplicateRunError)
    assert (done.error.run_id, done.error.source_changed) == ("run_1", True)


@pytest.mark.parametrize("on_duplicate", ["raise", "attach"])
@pytest.mark.parametrize("body", [{}, {"run_id": None}, {"run_id": "../x"}, b"", b"<html>"])
async def test_a_duplicate_that_names_no_run(body: Any, on_duplicate: Any) -> None:
    client, transport = fake_client([FakeAnswer(409, body)])

    with pytest.raises(DuplicateRunError) as caught:
        await client.run(FLOW, SOURCE, on_duplicate=on_duplicate)

    assert caught.value.run_id is None
    assert len(transport.requests) == 1


async def test_a_run_that_was_found_to_be_ours_may_be_late_to_show() -> None:
    server = Server((True, FakeAnswer(502)), capabilities=None)
    client, transport = fake_client(server, clock=server.clock)
    run = await client.run(FLOW, SOURCE)
    hidden = [server.runs.pop("run_1")]

    def appears(request: FakeRequest) -> Any:
        if len(transport.requests) > 5:
            server.runs["run_1"] = hidden[0]
        return server(request)

    transport._answer = appears
    await run.refresh()

    assert run.status == "CREATED"


@pytest.mark.parametrize(
    "arguments",
    [
        ("", SOURCE),
        (FLOW, "../x"),
        (FLOW, [SOURCE, "b.csv"]),
        (FLOW, SOURCE, [1]),
        (FLOW, SOURCE, None, "yes"),
    ],
)
async def test_bad_arguments_are_not_sent(arguments: tuple[Any, ...]) -> None:
    client, transport = fake_client([])

    with pytest.raises(InvalidRequestError):
        await client.run(*arguments)

    assert transport.requests == []
