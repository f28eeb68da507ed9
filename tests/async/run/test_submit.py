"""Submitting once: what is done after a lost answer, by what the server can and by what it holds."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from lume_async import (
    ApiConnectionError,
    ApiError,
    DuplicateRunError,
    InvalidRequestError,
    LumeRun,
    ResponseDecodeError,
    SubmissionUnknownError,
)
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, fake_client, run_json

FLOW, SOURCE = "customer_cleaner:v1", "customers.csv"


class Server:
    """The contract's `POST /v1/runs`, in memory, with answers that get lost.

    Args:
        capabilities: the header's text; None sends none, as an old server does.
        loses: what comes in place of the first answers; each item is (committed, what the client sees).
    """

    def __init__(
        self,
        *loses: tuple[bool, Any],
        capabilities: str | None = "idempotency, wait",
        health: str | None = "same",
    ) -> None:
        self.clock = FakeClock()
        self.loses = list(loses)
        self.capabilities = capabilities
        self.health = capabilities if health == "same" else health
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
            return self.answer(200, {}, capabilities=self.health)
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

    def answer(self, status: int, body: Any, *, capabilities: str | None = "same") -> FakeAnswer:
        headers = {}
        offered = self.capabilities if capabilities == "same" else capabilities
        if offered is not None:
            headers["Lume-Capabilities"] = offered
        moment = datetime.fromtimestamp(int(self.clock.wall()), UTC)
        headers["Date"] = format_datetime(moment, usegmt=True)
        return FakeAnswer(status, body, headers)


class Submitted:
    """What a submission came to, and what it sent."""

    def __init__(self, outcome: LumeRun | Exception, requests: list[FakeRequest]) -> None:
        self.run = outcome if isinstance(outcome, LumeRun) else None
        self.error = None if self.run else outcome
        self.sent = [f"{request.method} {request.path}" for request in requests]


async def submitted(server: Server, *, known: bool = False, **options: Any) -> Submitted:
    """Submit once; `known`: the client has seen an answer of the server before."""
    client, transport = fake_client(server, clock=server.clock)
    if known:
        server.runs["old"] = run_json("old", "SUCCEEDED", source_path="elsewhere.csv")
        await client.run_status("old")
        transport.requests.clear()
    try:
        outcome: LumeRun | Exception = await client.run(FLOW, SOURCE, **options)
    except ApiError as error:
        outcome = error
    return Submitted(outcome, transport.requests)


# A lost answer and force_rerun=True: only a server that knows keys gets it twice


@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("capabilities", "known", "health", "sent"),
    [
        ("idempotency, wait", True, "same", ["POST /v1/runs", "POST /v1/runs"]),
        ("idempotency", False, "same", ["POST /v1/runs", "GET /healthz", "POST /v1/runs"]),
        ("wait", True, "same", ["POST /v1/runs"]),
        ("", True, "same", ["POST /v1/runs"]),
        ("wait", False, "same", ["POST /v1/runs", "GET /healthz"]),
        (None, True, None, ["POST /v1/runs", "GET /healthz"]),
        (None, False, None, ["POST /v1/runs", "GET /healthz"]),
    ],
)
async def test_the_decision_after_a_lost_forced_submission(
    committed: bool, capabilities: str | None, known: bool, health: str | None, sent: list[str]
) -> None:
    server = Server((committed, FakeAnswer(502)), capabilities=capabilities, health=health)

    done = await submitted(server, known=known, force_rerun=True)

    assert done.sent == sent
    made = [run for run in server.runs if run != "old"]
    if sent.count("POST /v1/runs") == 2:
        assert done.run is not None
        assert [done.run.id] == made
        assert not done.run.reused
    else:
        assert isinstance(done.error, SubmissionUnknownError)
        assert len(made) == committed


@pytest.mark.parametrize(
    "answer", [ApiConnectionError("down"), ApiConnectionError("refused", reached=False), FakeAnswer(404)]
)
async def test_where_the_server_does_not_say_what_it_can_nothing_is_sent_twice(answer: Any) -> None:
    server = Server((True, FakeAnswer(502)))

    def answers(request: FakeRequest) -> Any:
        return answer if request.path == "/healthz" else server(request)

    client, transport = fake_client(answers, clock=server.clock)
    with pytest.raises(SubmissionUnknownError):
        await client.run(FLOW, SOURCE, force_rerun=True)

    assert [request.path for request in transport.requests] == ["/v1/runs", "/healthz"]


# Attempts used up


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        (FakeAnswer(503), SubmissionUnknownError),
        (FakeAnswer(429), SubmissionUnknownError),
        (FakeAnswer(401), SubmissionUnknownError),
        (FakeAnswer(403), SubmissionUnknownError),
        (FakeAnswer(302), SubmissionUnknownError),
        (ApiConnectionError("refused", reached=False), SubmissionUnknownError),
        (FakeAnswer(400), SubmissionUnknownError),
        (FakeAnswer(404, b"<html>"), SubmissionUnknownError),
        (FakeAnswer(404, {"type": "about:blank"}), SubmissionUnknownError),
        (FakeAnswer(422, {"type": ["urn:lume:problem:invalid"]}), SubmissionUnknownError),
        (FakeAnswer(400, {"type": "urn:lume:problem:invalid"}), InvalidRequestError),
        (FakeAnswer(404, {"type": "urn:lume:problem:not-found"}), InvalidRequestError),
        (FakeAnswer(413, {"type": "urn:lume:problem:too-large"}), InvalidRequestError),
        (FakeAnswer(422, {"type": "urn:lume:problem:invalid"}), InvalidRequestError),
    ],
)
async def test_after_a_lost_answer_only_a_refusal_of_the_service_says_that_there_is_no_run(
    then: Any, kind: type[ApiError]
) -> None:
    server = Server((True, FakeAnswer(502)), *[(False, then)] * 2)

    done = await submitted(server)

    assert type(done.error) is kind


async def test_an_answer_that_is_too_large_is_lost_and_not_sent_again() -> None:
    too_large = ResponseDecodeError("too large", status_code=201, retryable=False)

    done = await submitted(Server((True, too_large)))

    assert isinstance(done.error, SubmissionUnknownError)
    assert done.sent == ["POST /v1/runs"]


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


@pytest.mark.parametrize("failure", [FakeAnswer(403), FakeAnswer(404), FakeAnswer(418)])
@pytest.mark.parametrize("lost", [True, False])
async def test_a_run_that_can_not_be_looked_at_leaves_the_lost_answer_unknown(
    failure: FakeAnswer, lost: bool
) -> None:
    first = [FakeAnswer(502)] if lost else []
    client, _ = fake_client([*first, FakeAnswer(409, {"run_id": "run_1"}), failure])

    with pytest.raises(ApiError) as caught:
        await client.run(FLOW, SOURCE, on_duplicate="attach")

    assert isinstance(caught.value, SubmissionUnknownError) is lost
    assert caught.value.status_code == failure.status


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
