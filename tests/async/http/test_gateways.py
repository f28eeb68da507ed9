"""Headers of one's own, bearer tokens and views with other options: what gateways and their users need."""

import io
import logging
import pickle
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import lume_sync
from lume_async import (
    ApiConnectionError,
    AuthenticationError,
    Client,
    ClientClosedError,
    ConfigurationError,
    Retry,
    ServerError,
)
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

SECRET = "token-4711-abcdefgh"
GATEWAY = "gateway-secret-0815"


def succeeds(request: FakeRequest) -> FakeAnswer:
    return FakeAnswer(200, run_json("run_1", "SUCCEEDED"))


# ── headers ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_headers_are_sent_with_every_request() -> None:
    client, transport = fake_client(succeeds, headers={"X-Tenant": "team-a", "x-gateway-key": GATEWAY})
    await client.run_status("run_1")
    await client.run("f:v1", "a.csv")
    await client._sender.replays()
    for request in transport.requests:
        assert (request.headers["X-Tenant"], request.headers["X-Gateway-Key"]) == ("team-a", GATEWAY)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"lume-api-key": GATEWAY}, "pass lume-api-key as api_key"),
        ({"User-Agent": "mine"}, "pass User-Agent as user_agent"),
        ({"Content-Length": "3"}, "Content-Length is set by the client itself"),
        ({"Idempotency-Key": GATEWAY}, "set by the client itself"),
        ({"X Tenant": "a"}, "not a valid header name"),
        ({"X-Tenant": "a\r\nX-Other: b"}, "the value of X-Tenant must be printable ASCII"),
        ({"X-Tenant": f"{GATEWAY}\n"}, "the value of X-Tenant must be printable"),
        ({"X-Tenant": "ü"}, "the value of X-Tenant must be printable"),
        ({"X-Tenant": 5}, "the value of X-Tenant must be printable"),
        ({5: "a"}, "not a valid header name"),
        ({"X-A": "1", "x-a": "2"}, "occurs twice"),
        (["X-A"], "headers must be a dict of strings, not list"),
    ],
)
@pytest.mark.parametrize("later", [False, True], ids=["Client", "with_options"])
def test_headers_that_can_not_be_sent(headers: Any, message: str, later: bool) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        if later:
            Client("key", base_url="http://lume.test").with_options(headers=headers)
        else:
            Client("key", base_url="http://lume.test", headers=headers)
    ours = [
        frame.f_locals
        for frame, _line in traceback.walk_tb(caught.value.__traceback__)
        if "lume_async" in frame.f_code.co_filename
    ]
    assert ours
    assert GATEWAY not in str(caught.value) + repr(ours)


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def rotating() -> str:
    return SECRET


@pytest.mark.parametrize("token", [SECRET, lambda: SECRET, rotating], ids=["text", "plain", "asynchronous"])
async def test_a_token_is_a_bearer(token: Any) -> None:
    client, transport = fake_client(succeeds, token=token)
    await client.run_status("run_1")
    assert transport.requests[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert transport.requests[0].headers["lume-api-key"] == "test-key"


async def test_with_a_token_the_key_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUME_API_KEY", raising=False)
    client, transport = fake_client(succeeds, api_key=None, token=SECRET)
    await client.run_status("run_1")
    assert "lume-api-key" not in transport.requests[0].headers
    with pytest.raises(ConfigurationError, match="no API key"):
        Client(base_url="http://lume.test")


async def test_a_token_that_has_expired_is_asked_for_anew_once() -> None:
    tokens = iter(["old-token-1", "new-token-2", "new-token-3"])

    def answer(request: FakeRequest) -> FakeAnswer:
        return succeeds(request) if "new-token-2" in request.headers["Authorization"] else FakeAnswer(401)

    client, transport = fake_client(answer, token=lambda: next(tokens))
    assert (await client.run_status("run_1")).succeeded
    with pytest.raises(AuthenticationError):
        await fake_client(lambda request: FakeAnswer(401), token=lambda: SECRET)[0].run_status("run_1")
    assert len(transport.requests) == 2


@pytest.mark.parametrize(
    ("token", "message"),
    [("", "token is empty$"), ("a\nb", "token is not a valid token"), (5, "token must be a string, not int")],
)
def test_what_is_no_token(token: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Client("key", base_url="http://lume.test", token=token)


def test_a_token_and_a_header_are_too_much() -> None:
    headers = {"authorization": "Basic abc"}
    with pytest.raises(ConfigurationError, match="headers: the client has a token"):
        Client("key", base_url="http://lume.test", token=SECRET, headers=headers)
    with pytest.raises(ConfigurationError, match="headers: the client has a token"):
        Client("key", base_url="http://lume.test", token=SECRET).with_options(headers=headers)


def failing() -> str:
    raise ValueError(f"no token but {SECRET}")


async def test_a_function_that_fails_is_named() -> None:
    client, _ = fake_client(succeeds, token=failing, retry=Retry(attempts=1))
    with pytest.raises(ApiConnectionError, match="the token function failed: ValueError") as caught:
        await client.run_status("run_1")
    assert SECRET not in str(caught.value)


LEAKS: dict[str, Callable[[str], FakeAnswer]] = {
    "a problem": lambda secret: FakeAnswer(500, {"detail": f"refused: {secret}"}),
    "a header": lambda secret: FakeAnswer(500, b"no", {"X-Request-Id": f"id-{secret}"}),
    "a broken body": lambda secret: FakeAnswer(200, f"<html>{secret}".encode()),
}


@pytest.mark.parametrize("how", ["token", "function", "header", "view"])
@pytest.mark.parametrize("leak", LEAKS)
async def test_no_error_and_no_log_repeats_a_secret(leak: str, how: str) -> None:
    given: dict[str, Any] = {
        "token": {"token": SECRET},
        "function": {"token": rotating},
        "header": {"headers": {"X-Gateway-Token": SECRET}},
        "view": {},
    }[how]
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger("lume").addHandler(handler)
    logging.getLogger("lume").setLevel(logging.DEBUG)
    try:
        client, _ = fake_client(lambda request: LEAKS[leak](SECRET), retry=Retry(attempts=2), **given)
        if how == "view":
            client = client.with_options(headers={"X-Gateway-Token": SECRET})
        with pytest.raises((ServerError, lume_sync.ResponseDecodeError)) as caught:
            await client.run_status("run_1")
    finally:
        logging.getLogger("lume").removeHandler(handler)
        logging.getLogger("lume").setLevel(logging.NOTSET)
    error = caught.value
    shown = [str(error), repr(error), error.body, str(error.request_id), repr(vars(error)), repr(client)]
    shown += [repr(client._sender.settings), log.getvalue(), pickle.dumps(error).decode("latin-1")]
    assert not [text for text in shown if SECRET in text]


# ── views ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_view_has_its_own_options_on_the_same_connections() -> None:
    client, transport = fake_client(succeeds, headers={"X-Tenant": "a", "X-Team": "data"})
    view = client.with_options(
        request_timeout=timedelta(seconds=5), retry=Retry(attempts=1), headers={"x-tenant": "b"}
    )
    await view.run_status("run_1")
    await client.run_status("run_1")
    of_view, own = transport.requests
    assert (of_view.timeout, own.timeout) == (5.0, 60.0)
    assert (of_view.headers["X-Tenant"], of_view.headers["X-Team"]) == ("b", "data")
    assert own.headers["X-Tenant"] == "a"
    assert view._sender._transport is client._sender._transport
    assert repr(view) == repr(client)


async def test_what_one_learns_of_the_server_the_other_knows() -> None:
    capable = FakeAnswer(200, run_json("run_1", "SUCCEEDED"), {"Lume-Capabilities": "wait"})
    client, _ = fake_client([capable])
    view = client.with_options(request_timeout=5)
    await view.run_status("run_1")
    assert client._sender.can("wait")
    assert client._sender.known.has_answered


async def test_a_view_has_its_own_retries() -> None:
    client, transport = fake_client(lambda request: FakeAnswer(500))
    with pytest.raises(ServerError):
        await client.with_options(retry=Retry(attempts=1)).run_status("run_1")
    assert len(transport.requests) == 1
    with pytest.raises(ServerError):
        await client.run_status("run_1")
    assert len(transport.requests) > 2


async def test_closing_a_view_closes_nothing_and_it_ends_with_its_client() -> None:
    client, transport = fake_client(succeeds)
    async with client.with_options(request_timeout=5) as view:
        await view.run_status("run_1")
    assert not transport.closed
    assert (await client.run_status("run_1")).succeeded
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await view.run_status("run_1")


def test_the_facade_has_views_too() -> None:
    core, transport = fake_client(succeeds)
    client = lume_sync.Client._wrap(core)
    with client.with_options(request_timeout=5) as view:
        assert type(view) is lume_sync.Client
        assert type(view.run_status("run_1")) is lume_sync.LumeRun
    assert client.run_status("run_1").succeeded
    assert [request.timeout for request in transport.requests] == [5.0, 60.0]
