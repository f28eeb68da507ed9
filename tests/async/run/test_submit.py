"""Submitting once: what is done after a lost answer, by what the server can and by what it holds."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from scripted import scripted_client

from lume_async import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    DuplicateRunError,
    InvalidRequestError,
    LumeRun,
    RateLimitError,
    ResponseDecodeError,
    Retry,
    RunRequest,
    ServerError,
    SubmissionUnknownError,
)
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, run_json

pytestmark = pytest.mark.usefixtures("http")

FLOW, SOURCE = "customer_cleaner:v1", "customers.csv"
LOST = [
    pytest.param(ApiConnectionError("reset", reached=True), id="reset"),
    pytest.param(ApiTimeoutError("slow", reached=True), id="timeout"),
    pytest.param(ResponseDecodeError("cut", status_code=201), id="cut"),
    pytest.param(FakeAnswer(201, b""), id="empty"),
    pytest.param(FakeAnswer(201, b"<html>welcome</html>"), id="html"),
    pytest.param(FakeAnswer(201, b'{"id": "run_1", "sta'), id="truncated"),
    pytest.param(FakeAnswer(201, {"id": "run_1"}), id="no status"),
    pytest.param(FakeAnswer(500, b"oops"), id="500"),
    pytest.param(FakeAnswer(502, b"<html>bad gateway</html>"), id="502"),
    pytest.param(FakeAnswer(504), id="504"),
]
NOT_LOST = [
    pytest.param(ApiConnectionError("refused", reached=False), id="refused"),
    pytest.param(ApiTimeoutError("no connection", reached=False), id="no connection"),
    pytest.param(FakeAnswer(408), id="408"),
    pytest.param(FakeAnswer(429), id="429"),
    pytest.param(FakeAnswer(503), id="503"),
]


class Server:
    """The contract's `POST /v1/runs`, in memory, with answers that get lost.

    Args:
        capabilities: the header's text; None sends none, as an old server does.
        loses: what comes in place of the first answers; each item is (committed, what the client sees).
        skew: how wrong the server's clock is, in seconds.
        dates: whether answers carry `Date`.
    """

    def __init__(
        self,
        *loses: tuple[bool, Any],
        capabilities: str | None = "idempotency, wait",
        health: str | None = "same",
        skew: float = 0.0,
        dates: bool = True,
    ) -> None:
        self.clock = FakeClock()
        self.loses = list(loses)
        self.capabilities = capabilities
        self.health = capabilities if health == "same" else health
        self.skew = skew
        self.dates = dates
        self.runs: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, tuple[str, Any]] = {}
        self.looks = 0
        self.source_changed: Any = None

    def add(self, *, age: float = 0.0, body: dict[str, Any] | None = None, **fields: Any) -> str:
        """A run that was made `age` seconds ago."""
        run_id = f"run_{len(self.runs) + 1}"
        moment = datetime.fromtimestamp(self.clock.wall() + self.skew - age, UTC)
        made = {"run_metadata": None, "created_at": moment.isoformat(), **(body or {}), **fields}
        self.runs[run_id] = run_json(run_id, made.pop("status", "CREATED"), **made)
        return run_id

    def __call__(self, request: FakeRequest) -> FakeAnswer | Exception:
        self.clock.advance(0.25)
        if request.path == "/healthz":
            return self.answer(200, {}, capabilities=self.health)
        if request.method == "GET":
            self.looks += 1
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
        if self.dates:
            moment = datetime.fromtimestamp(int(self.clock.wall() + self.skew), UTC)
            headers["Date"] = format_datetime(moment, usegmt=True)
        return FakeAnswer(status, body, headers)


class Submitted:
    """What a submission came to, and what it sent."""

    def __init__(self, outcome: LumeRun | Exception, requests: list[FakeRequest]) -> None:
        self.run = outcome if isinstance(outcome, LumeRun) else None
        self.error = None if self.run else outcome
        self.sent = [f"{request.method} {request.path}" for request in requests]
        self.posts = [request for request in requests if request.path == "/v1/runs"]


async def submitted(server: Server, *, known: bool = False, **options: Any) -> Submitted:
    """Submit once; `known`: the client has seen an answer of the server before."""
    settings = {name: options.pop(name) for name in ("retry", "api_key") if name in options}
    client, transport = scripted_client(server, clock=server.clock, **settings)
    if known:
        server.runs["old"] = run_json("old", "SUCCEEDED", source_path="elsewhere.csv")
        await client.run_status("old")
        transport.requests.clear()
    try:
        outcome: LumeRun | Exception = await client.run(FLOW, SOURCE, **options)
    except ApiError as error:
        outcome = error
    return Submitted(outcome, transport.requests)


# The plain way


async def test_a_submission_is_one_request() -> None:
    server = Server()
    done = await submitted(server, run_metadata={"batch": 7})

    assert done.sent == ["POST /v1/runs"]
    assert done.run is not None
    assert (done.run.id, done.run.status, done.run.reused) == ("run_1", "CREATED", False)
    assert done.run.idempotency_key == done.posts[0].headers["Idempotency-Key"]
    assert done.posts[0].json()["run_metadata"] == {"batch": 7}


async def test_each_call_has_its_own_key() -> None:
    server = Server()
    client, transport = scripted_client(server, clock=server.clock)
    for n in range(3):
        await client.run(FLOW, f"{n}.csv")

    assert len({request.headers["Idempotency-Key"] for request in transport.requests}) == 3


# A lost answer and force_rerun=False: the same call again, with the same key


@pytest.mark.parametrize("seen", LOST)
@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("capabilities", ["idempotency", "wait", None])
async def test_a_lost_answer_makes_no_second_run(
    seen: Any, committed: bool, capabilities: str | None
) -> None:
    server = Server((committed, seen), capabilities=capabilities)

    done = await submitted(server, run_metadata={"batch": 7})

    assert done.run is not None
    assert (done.run.id, done.run.reused) == ("run_1", False)
    assert len(server.runs) == 1
    assert len(done.posts) == 2
    assert len({(post.headers["Idempotency-Key"], post.body) for post in done.posts}) == 1


@pytest.mark.parametrize("seen", NOT_LOST)
@pytest.mark.parametrize("force_rerun", [False, True])
@pytest.mark.parametrize("capabilities", ["idempotency", None])
async def test_what_never_arrived_is_sent_again_to_any_server(
    seen: Any, force_rerun: bool, capabilities: str | None
) -> None:
    server = Server((False, seen), (False, seen), capabilities=capabilities)

    done = await submitted(server, force_rerun=force_rerun)

    assert done.run is not None
    assert done.sent == ["POST /v1/runs"] * 3
    assert len(server.runs) == 1


# A lost answer and force_rerun=True: only a server that knows keys gets it twice


@pytest.mark.parametrize("seen", LOST)
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
    seen: Any, committed: bool, capabilities: str | None, known: bool, health: str | None, sent: list[str]
) -> None:
    server = Server((committed, seen), capabilities=capabilities, health=health)

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

    client, transport = scripted_client(answers, clock=server.clock)
    with pytest.raises(SubmissionUnknownError):
        await client.run(FLOW, SOURCE, force_rerun=True)

    assert [request.path for request in transport.requests] == ["/v1/runs", "/healthz"]


async def test_a_proxys_answer_does_not_change_what_is_known() -> None:
    server = Server((True, FakeAnswer(502, b"from a proxy")), capabilities="idempotency")

    done = await submitted(server, known=True, force_rerun=True)

    assert done.run is not None
    assert done.sent == ["POST /v1/runs"] * 2


@pytest.mark.parametrize(
    ("offered", "posts"), [("idempotency", 2), ("IDEMPOTENCY , wait", 2), ("idempotency-2", 1), ("", 1)]
)
async def test_the_newest_answer_with_the_header_counts(offered: str, posts: int) -> None:
    server = Server(
        (True, FakeAnswer(500, b"", {"Lume-Capabilities": offered})),
        capabilities="wait" if posts == 2 else "idempotency",
    )

    done = await submitted(server, known=True, force_rerun=True, retry=Retry(attempts=2))

    assert len(done.posts) == posts


# Attempts used up


async def test_attempts_used_up_with_an_answer_lost() -> None:
    server = Server(*[(False, FakeAnswer(502, headers={"X-Request-Id": "req_1"}))] * 3)

    done = await submitted(server, run_metadata={"batch": 7})

    error = done.error
    assert isinstance(error, SubmissionUnknownError)
    assert error.idempotency_key == done.posts[0].headers["Idempotency-Key"]
    assert error.request == RunRequest(FLOW, SOURCE, {"batch": 7})
    assert (error.attempts, error.status_code, error.request_id) == (3, 502, "req_1")
    assert isinstance(error.__cause__, ServerError)
    for words in (FLOW, SOURCE, error.idempotency_key, "list_runs"):
        assert words in str(error)


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


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (ApiConnectionError("refused", reached=False), ApiConnectionError),
        (FakeAnswer(429), RateLimitError),
        (FakeAnswer(503), ServerError),
        (FakeAnswer(408), ApiError),
        (FakeAnswer(401), AuthenticationError),
        (FakeAnswer(400), InvalidRequestError),
        (FakeAnswer(404), InvalidRequestError),
        (FakeAnswer(422), InvalidRequestError),
        (FakeAnswer(307), ApiError),
    ],
)
async def test_without_a_lost_answer_the_error_is_what_it_is(seen: Any, kind: type[ApiError]) -> None:
    done = await submitted(Server(*[(False, seen)] * 3))

    assert type(done.error) is kind


async def test_one_attempt_that_is_lost_is_unknown() -> None:
    done = await submitted(Server((True, FakeAnswer(502))), retry=Retry(attempts=1))

    assert isinstance(done.error, SubmissionUnknownError)
    assert done.sent == ["POST /v1/runs"]


async def test_an_answer_that_is_too_large_is_lost_and_not_sent_again() -> None:
    too_large = ResponseDecodeError("too large", status_code=201, retryable=False)

    done = await submitted(Server((True, too_large)))

    assert isinstance(done.error, SubmissionUnknownError)
    assert done.sent == ["POST /v1/runs"]


# A 409: whose run is it?


@pytest.mark.parametrize("on_duplicate", ["raise", "attach"])
async def test_a_plain_duplicate(on_duplicate: Any) -> None:
    server = Server()
    server.add(status="FAILED")

    done = await submitted(server, on_duplicate=on_duplicate)

    if on_duplicate == "raise":
        assert isinstance(done.error, DuplicateRunError)
        assert done.error.run_id == "run_1"
        assert done.sent == ["POST /v1/runs"]
    else:
        assert done.run is not None
        assert (done.run.id, done.run.status, done.run.reused) == ("run_1", "FAILED", True)
        assert done.sent == ["POST /v1/runs", "GET /v1/runs/run_1"]


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


@pytest.mark.parametrize(
    ("skew", "dates"),
    [(-86_400, True), (0, True), (86_400, True), (0, False)],  # without Date the clocks have to agree
)
@pytest.mark.parametrize(
    ("age", "metadata", "ours"),
    [
        (None, {"batch": 7}, True),  # made by the attempt whose answer was lost
        (60, {"batch": 7}, False),
        (86_000, {"batch": 7}, False),
        (None, {"batch": 8}, False),
        (None, None, False),
    ],
)
async def test_a_duplicate_after_a_lost_answer_is_looked_into(
    skew: float, dates: bool, age: float | None, metadata: Any, ours: bool
) -> None:
    server = Server((age is None, FakeAnswer(502)), capabilities=None, skew=skew, dates=dates)
    if age is not None:
        server.add(age=age, run_metadata=metadata, source_path=SOURCE)

    def answers(request: FakeRequest) -> Any:
        for run in server.runs.values():
            run["run_metadata"] = metadata  # as if another client had been there first
        return server(request)

    client, transport = scripted_client(answers, clock=server.clock)
    if ours:
        run = await client.run(FLOW, SOURCE, {"batch": 7})
        assert (run.id, run.reused) == ("run_1", False)
        assert run.idempotency_key == transport.requests[0].headers["Idempotency-Key"]
    else:
        with pytest.raises(DuplicateRunError) as caught:
            await client.run(FLOW, SOURCE, {"batch": 7})
        assert caught.value.run_id == "run_1"
    assert [request.method for request in transport.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(("mine", "theirs"), [(None, None), (None, {}), ({}, None)])
async def test_no_metadata_and_empty_metadata_are_the_same(mine: Any, theirs: Any) -> None:
    server = Server((True, FakeAnswer(502)), capabilities=None)

    def answers(request: FakeRequest) -> Any:
        for run in server.runs.values():
            run["run_metadata"] = theirs
        return server(request)

    client, _ = scripted_client(answers, clock=server.clock)

    assert (await client.run(FLOW, SOURCE, mine)).id == "run_1"


async def test_a_server_that_tells_whole_seconds_is_understood() -> None:
    server = Server((True, FakeAnswer(502)), capabilities=None)
    server.clock.advance(0.7)

    def answers(request: FakeRequest) -> Any:
        for run in server.runs.values():
            run["created_at"] = f"{run['created_at'][:19]}Z"
        return server(request)

    client, _ = scripted_client(answers, clock=server.clock)

    assert (await client.run(FLOW, SOURCE)).reused is False


@pytest.mark.parametrize("created_at", [None, "yesterday", 5, ""])
async def test_a_run_that_does_not_say_when_it_was_made_is_not_ours(created_at: Any) -> None:
    server = Server((True, FakeAnswer(502)), capabilities=None)

    def answers(request: FakeRequest) -> Any:
        for run in server.runs.values():
            run["created_at"] = created_at
        return server(request)

    client, _ = scripted_client(answers, clock=server.clock)
    with pytest.raises(DuplicateRunError):
        await client.run(FLOW, SOURCE)


async def test_attach_after_a_lost_answer_knows_its_own_run() -> None:
    done = await submitted(Server((True, FakeAnswer(502)), capabilities=None), on_duplicate="attach")

    assert done.run is not None
    assert done.run.reused is False


async def test_attach_after_a_lost_answer_knows_another_ones_run() -> None:
    server = Server((False, FakeAnswer(502)), capabilities=None)
    server.add(age=3_600)

    done = await submitted(server, on_duplicate="attach")

    assert done.run is not None
    assert done.run.reused is True


@pytest.mark.parametrize("on_duplicate", ["raise", "attach"])
@pytest.mark.parametrize("body", [{}, {"run_id": None}, {"run_id": "../x"}, b"", b"<html>"])
async def test_a_duplicate_that_names_no_run(body: Any, on_duplicate: Any) -> None:
    client, transport = scripted_client([FakeAnswer(409, body)])

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
    client, _ = scripted_client([*first, FakeAnswer(409, {"run_id": "run_1"}), failure])

    with pytest.raises(ApiError) as caught:
        await client.run(FLOW, SOURCE, on_duplicate="attach")

    assert isinstance(caught.value, SubmissionUnknownError) is lost
    assert caught.value.status_code == failure.status


async def test_a_run_that_was_found_to_be_ours_may_be_late_to_show() -> None:
    server = Server((True, FakeAnswer(502)), capabilities=None)
    client, transport = scripted_client(server, clock=server.clock)
    run = await client.run(FLOW, SOURCE)
    hidden = [server.runs.pop("run_1")]

    def appears(request: FakeRequest) -> Any:
        if len(transport.requests) > 5:
            server.runs["run_1"] = hidden[0]
        return server(request)

    transport.answer = appears
    await run.refresh()

    assert run.status == "CREATED"


# A key of the caller's own


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TRANSFORMING"])
@pytest.mark.parametrize("force_rerun", [False, True])
async def test_the_same_key_and_body_give_the_old_run_with_its_true_status(
    status: str, force_rerun: bool
) -> None:
    server = Server()
    first = await submitted(server, idempotency_key="mine", force_rerun=force_rerun)
    server.runs["run_1"]["status"] = status
    server.clock.advance(60)

    second = await submitted(server, idempotency_key="mine", force_rerun=force_rerun)

    assert first.run is not None
    assert second.run is not None
    assert (first.run.reused, second.run.reused) == (False, True)
    assert (second.run.id, second.run.status, second.run.idempotency_key) == ("run_1", status, "mine")


async def test_the_same_key_with_another_body_is_refused() -> None:
    server = Server()
    await submitted(server, idempotency_key="mine")

    second = await submitted(server, idempotency_key="mine", run_metadata={"other": True})

    assert type(second.error) is InvalidRequestError


async def test_a_new_key_of_the_callers_own_is_a_new_run() -> None:
    server = Server()
    await submitted(server, idempotency_key="one", force_rerun=True)

    second = await submitted(server, idempotency_key="two", force_rerun=True)

    assert second.run is not None
    assert (second.run.id, second.run.reused) == ("run_2", False)


@pytest.mark.parametrize("own_key", [True, False])
async def test_a_replay_that_answers_a_resend_is_no_reuse(own_key: bool) -> None:
    key = {"idempotency_key": "mine"} if own_key else {}

    done = await submitted(Server((True, FakeAnswer(502))), **key)

    assert done.run is not None
    assert done.run.reused is False


async def test_a_replay_after_a_lost_answer_may_still_be_an_older_run() -> None:
    server = Server()
    await submitted(server, idempotency_key="mine")
    server.clock.advance(60)
    server.loses = [(True, FakeAnswer(502))]

    second = await submitted(server, idempotency_key="mine")

    assert second.run is not None
    assert second.run.reused is True


# Refused before anything is sent


@pytest.mark.parametrize("key", ["", " ", "a\nb", "ü", "x" * 256, 5, b"k"])
async def test_a_bad_key_is_not_sent(key: Any) -> None:
    client, transport = scripted_client([])

    with pytest.raises(InvalidRequestError, match="idempotency_key"):
        await client.run(FLOW, SOURCE, idempotency_key=key)

    assert transport.requests == []


@pytest.mark.parametrize("choice", ["", "Attach", None, True])
async def test_a_bad_choice_is_not_sent(choice: Any) -> None:
    client, transport = scripted_client([])

    with pytest.raises(ValueError, match="on_duplicate must be"):
        await client.run(FLOW, SOURCE, on_duplicate=choice)

    assert transport.requests == []


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
    client, transport = scripted_client([])

    with pytest.raises(InvalidRequestError):
        await client.run(*arguments)

    assert transport.requests == []
