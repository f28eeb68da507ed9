"""The tree of errors is the one that its docstring draws, and every error travels."""

import pickle
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lume_async import Client, LumeRun, errors
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DuplicateRunError,
    InvalidRequestError,
    JournalError,
    LumeError,
    MissingLibraryError,
    NotSupportedError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
    ServerError,
    SubmissionUnknownError,
    WebhookSignatureError,
)
from lume_async.models import RunRequest
from lume_async.testing import FakeAnswer, fake_client

REQUEST = RunRequest("customer_cleaner:v1", "customers.csv", {"batch": 7})
DETAILS = {
    "status_code": 418,
    "request_id": "req_1",
    "body": "teapot",
    "attempts": 3,
    "retry_after": 2.5,
    "retryable": True,
}

EXAMPLES = [
    LumeError("root"),
    ConfigurationError("no key"),
    ClientClosedError("closed"),
    JournalError("full"),
    MissingLibraryError("install it", name="it"),
    WebhookSignatureError("wrong"),
    ApiError("message", **DETAILS),
    ApiConnectionError("reset", reached=False, **DETAILS),
    ApiTimeoutError("slow", reached=False, **DETAILS),
    AuthenticationError("who", **DETAILS),
    PermissionDeniedError("not you", **DETAILS),
    InvalidRequestError("what", **DETAILS),
    DuplicateRunError("again", run_id="run_1", source_changed=True, **DETAILS),
    RunNotFoundError("where", **DETAILS),
    NotSupportedError("too old", **DETAILS),
    RateLimitError("slow down", **DETAILS),
    ServerError("oops", **DETAILS),
    ResponseDecodeError("bad @ $.id", **DETAILS),
    SubmissionUnknownError("lost", idempotency_key="k", request=REQUEST, **DETAILS),
    RunError("run", run=LumeRun(None, "run_1")),
    RunFailedError("failed", run=LumeRun(None, "run_1")),
    RunTimeoutError("late", run=LumeRun(None, "run_1")),
]


def drawn_tree() -> dict[str, str]:
    """Each name in the docstring's drawing, and the name that it hangs on."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or not ("──" in line or line.strip() == "LumeError"):
            continue
        depth = (line.index(name) - 4) // 4
        path[depth:] = [name]
        if depth:
            parents[name] = path[depth - 1]
    return parents


@pytest.mark.parametrize(("name", "parent"), drawn_tree().items())
def test_the_tree_is_as_drawn(name: str, parent: str) -> None:
    assert getattr(errors, parent) in getattr(errors, name).__bases__


def test_the_drawing_shows_every_error() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert {"LumeError", *drawn_tree()} == defined


@pytest.mark.parametrize("error", [ApiTimeoutError, RunTimeoutError])
def test_the_timeouts_are_timeout_errors(error: type[Exception]) -> None:
    assert issubclass(error, TimeoutError)


def test_the_examples_below_cover_every_error() -> None:
    assert {type(error).__name__ for error in EXAMPLES} == {"LumeError", *drawn_tree()}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_pickles(error: LumeError, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(error, protocol))

    assert type(back) is type(error)
    assert back.args == error.args
    assert vars(back) == vars(error)
    assert str(back) == str(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError("message"), "message"),
        (ApiError(), ""),
        (ApiError("message", attempts=3), "message [after 3 attempts]"),
        (ApiError("message", request_id="r"), "message [request id r]"),
        (ApiError("message", attempts=2, request_id="r"), "message [after 2 attempts, request id r]"),
        (ApiTimeoutError("slow"), "slow"),
        (RunTimeoutError("late"), "late"),
        (RunFailedError("failed"), "failed"),
    ],
)
def test_what_an_error_says(error: LumeError, text: str) -> None:
    assert str(error) == text


def test_an_error_without_arguments_has_a_name() -> None:
    error = ApiError("message")
    error.args = ()

    assert str(error) == "ApiError"


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ApiError, False),
        (AuthenticationError, False),
        (PermissionDeniedError, False),
        (InvalidRequestError, False),
        (DuplicateRunError, False),
        (RunNotFoundError, False),
        (SubmissionUnknownError, False),
        (ApiConnectionError, True),
        (ApiTimeoutError, True),
        (RateLimitError, True),
        (ServerError, True),
        (ResponseDecodeError, True),
    ],
)
def test_which_kind_may_succeed_later(error: type[ApiError], retryable: bool) -> None:
    assert error("x").retryable is retryable


def test_a_body_keeps_its_beginning_only() -> None:
    assert len(ApiError("m", body="x" * 5_000).body) == 2048


@pytest.mark.parametrize("body", [{"detail": "d" * 5000}, {"id": "run_1", "status": None}])
async def test_a_message_is_short_with_the_request_in_front_and_stays_the_same(body: object) -> None:
    status, headers = 400 if "detail" in str(body) else 200, {"X-Request-Id": "r" * 5000}
    client, _ = fake_client([FakeAnswer(status, body, headers)] * 3)
    with pytest.raises(ApiError) as caught:
        await anext(client.list_runs(source_path="s" * 4000))
    assert len(caught.value.args[0]) <= 500
    assert len(str(caught.value)) <= 650
    assert caught.value.args[0].startswith("GET /v1/runs: ")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def _all(items: AsyncIterator[object]) -> list[object]:
    return [item async for item in items]


LACKING: dict[str, Callable[[Client], Awaitable[object]]] = {
    "upload": lambda client: client.upload(b"a,b"),
    "upload_file": lambda client: client.upload_file(__file__),
    "run(data=)": lambda client: client.run("f:v1", data=b"a,b"),
    "list_runs": lambda client: _all(client.list_runs()),
    "list_flows": lambda client: _all(client.list_flows()),
    "flow_version": lambda client: client.flow_version("f:v1"),
    "register_flow": lambda client: client.register_flow("flow = 'f'\nversion = 'v1'"),
    "inbox": lambda client: client.inbox(),
    "open_rejects": lambda client: _all(client.open_rejects()),
    "replay": lambda client: client.replay("f"),
    "statistics": lambda client: client.statistics(),
    "arrivals": lambda client: client.arrivals(),
    "audit": lambda client: _all(client.audit()),
}


@pytest.mark.parametrize(
    "answer", [FakeAnswer(404), FakeAnswer(405), FakeAnswer(501)], ids=lambda one: one.status
)
@pytest.mark.parametrize("name", LACKING)
async def test_what_a_bare_server_lacks_is_said_so(name: str, answer: FakeAnswer) -> None:
    client, _ = fake_client(lambda _request: answer)
    with pytest.raises(NotSupportedError, match="does not offer the operation"):
        await LACKING[name](client)
