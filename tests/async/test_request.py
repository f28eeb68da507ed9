"""`Client.request`: what it sends, what it refuses, and what it never sends twice."""

from typing import Any

import orjson
import pytest

from lume_async import (
    Answer,
    ApiConnectionError,
    ApiTimeoutError,
    Client,
    ConfigurationError,
    InvalidRequestError,
    PermissionDeniedError,
    RequestFinished,
    ResponseDecodeError,
    ServerError,
    SubmissionUnknownError,
)
from lume_async.testing import FakeAnswer, fake_client

OK = FakeAnswer(200, {"items": []}, {"X-Request-Id": "req_1", "ETag": '"a"'})


async def test_the_answer_is_as_it_came() -> None:
    client, transport = fake_client([OK])

    answer = await client.request("get", "/v1/exports?limit=5&name=a%2Fb")

    assert (answer.method, answer.path) == ("GET", "/v1/exports?limit=5&name=a%2Fb")
    assert (answer.status, answer.request_id, answer.attempts) == (200, "req_1", 1)
    assert answer.headers["etag"] == answer.headers["ETAG"] == '"a"'
    assert answer.json() == orjson.loads(answer.body) == {"items": []}
    sent = transport.requests[0]
    assert (sent.method, sent.path, sent.body) == ("GET", "/v1/exports?limit=5&name=a%2Fb", None)
    assert sent.headers["lume-api-key"] == "test-key"


async def test_a_body_is_json_of_the_type_that_the_caller_says() -> None:
    client, transport = fake_client([OK, OK, OK])

    await client.request("POST", "/v1/exports", json={"name": "é", "big": 2**70, "flag": False})
    await client.request("PATCH", "/v1/exports/1", json=[], headers={"content-type": "application/merge"})
    await client.request("PUT", "/v1/exports/1", json=0)

    first, second, third = transport.requests
    assert first.json() == {"name": "é", "big": 2**70, "flag": False}
    assert first.headers["Content-Type"] == "application/json"
    assert (second.body, second.headers["Content-Type"]) == (b"[]", "application/merge")
    assert third.body == b"0"


async def test_its_headers_replace_those_of_the_client_in_any_case() -> None:
    client, transport = fake_client([OK, OK], headers={"X-Team": "sales", "X-Other": "kept"})

    await client.request("GET", "/x", headers={"x-team": "support", "Accept": "text/csv", "If-Match": '"a"'})
    await client.request("GET", "/x")

    first, second = ({n.lower(): str(v) for n, v in one.headers.items()} for one in transport.requests)
    assert (first["x-team"], first["x-other"], first["accept"]) == ("support", "kept", "text/csv")
    assert list(map(str.lower, transport.requests[0].headers)).count("x-team") == 1
    assert second["x-team"] == "sales"
    assert second["accept"] == "application/json"


@pytest.mark.parametrize(
    "path",
    [
        *("", "v1/runs", "//evil.example/v1", "https://evil.example/", "\\\\evil", "/\\evil"),
        *("/v1/../admin", "/..", "/v1/%2e%2e/admin", "/v1/%2E./admin", "/v1/..%2fadmin", "/v1/..%5cadmin"),
        *("/v1/..;/admin", "/v1/..%3bx/admin", "/v1/%252e%252e/admin"),
        *(
            "/v1/runs id",
            "/v1/\nHost: evil",
            "/v1/\x00",
            "/v1/\x7f",
            "/v1/é",
            "/v1/runs#top",
            "/" + "a" * 8192,
        ),
        *(None, 5, b"/v1/runs"),
    ],
)
async def test_a_path_that_leaves_the_base_url_is_not_sent(path: Any) -> None:
    client, transport = fake_client([])

    with pytest.raises(InvalidRequestError, match="path must begin with one /") as caught:
        await client.request("GET", path)

    assert caught.value.status_code is None
    assert len(str(caught.value)) < 300
    assert transport.requests == []


@pytest.mark.parametrize(
    "path", ["/", "/v1/a..b", "/v1/...", "/v1//x", "/v1/runs?path=../x&at=a@b:c", "/v1/%20", "/v1/a;b=c.."]
)
async def test_a_path_that_stays_is_sent_as_it_is(path: str) -> None:
    client, transport = fake_client([OK])

    await client.request("GET", path)

    assert transport.requests[0].path == path


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Lume-Api-Key": "other"}, "api_key"),
        ({"user-agent": "mine"}, "user_agent"),
        ({"authorization": "Bearer x"}, "the client has a token"),
        ({"Content-Length": "5"}, "set by the client itself"),
        ({"Transfer-Encoding": "chunked"}, "set by the client itself"),
        ({"X-A": "a\r\nX-B: b"}, "printable ASCII"),
        ("X-A: b", "must be a dict"),
    ],
)
async def test_a_header_that_is_not_the_callers(headers: Any, words: str) -> None:
    client, transport = fake_client([], token="a token of mine")

    with pytest.raises(ConfigurationError, match=words):
        await client.request("GET", "/x", headers=headers)

    assert transport.requests == []


async def test_a_client_without_a_token_sends_the_authorization_of_one_request() -> None:
    client, transport = fake_client([OK])

    await client.request("GET", "/x", headers={"Authorization": "Basic abc"})

    assert transport.requests[0].headers["Authorization"] == "Basic abc"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "GET\r\n", "", None, 5])
async def test_an_unknown_method_is_not_sent(method: Any) -> None:
    client, transport = fake_client([])

    with pytest.raises(ValueError, match="method must be one of"):
        await client.request(method, "/x")

    assert transport.requests == []


@pytest.mark.parametrize("json", [{1, 2}, float("nan"), object()])
async def test_what_is_not_json_is_not_sent(json: Any) -> None:
    client, transport = fake_client([])

    with pytest.raises(InvalidRequestError, match="json can't be encoded"):
        await client.request("POST", "/x", json=json)

    assert transport.requests == []


SENT_AGAIN = [
    FakeAnswer(429),
    FakeAnswer(503),
    FakeAnswer(408),
    ApiConnectionError("refused", reached=False),
]
LOST: list[FakeAnswer | Exception] = [
    FakeAnswer(500),
    FakeAnswer(502),
    FakeAnswer(504),
    ApiConnectionError("reset"),
    ApiTimeoutError("slow"),
    ResponseDecodeError("in another encoding", status_code=200),
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize("trouble", [*SENT_AGAIN, *LOST])
async def test_what_may_be_done_twice_is_sent_again(method: str, trouble: Any) -> None:
    client, transport = fake_client([trouble, OK])

    answer = await client.request(method, "/x")

    assert (answer.status, answer.attempts) == (200, 2)
    assert len(transport.requests) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("refusal", SENT_AGAIN)
async def test_a_refusal_is_sent_again_whatever_it_does(method: str, refusal: Any) -> None:
    client, _ = fake_client([refusal, OK])

    assert (await client.request(method, "/x", json={})).attempts == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("lost", LOST)
async def test_what_may_have_arrived_is_not_done_twice(method: str, lost: Any) -> None:
    client, transport = fake_client([FakeAnswer(503), lost, OK])

    kind = ServerError if isinstance(lost, FakeAnswer) else type(lost)
    with pytest.raises(kind) as caught:
        await client.request(method, "/x", json={})

    assert not isinstance(caught.value, SubmissionUnknownError)
    assert caught.value.attempts == len(transport.requests) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (FakeAnswer(403, {"title": "No", "detail": "needs the role admin"}), PermissionDeniedError),
        (FakeAnswer(404, {"title": "No", "detail": "needs the role admin"}), InvalidRequestError),
        (FakeAnswer(409, {"title": "No", "detail": "needs the role admin"}), InvalidRequestError),
    ],
)
async def test_a_refusal_is_our_error_with_the_servers_words(answer: FakeAnswer, kind: type) -> None:
    client, _ = fake_client([answer])

    with pytest.raises(kind, match=r"^POST /v1/x: .*needs the role admin") as caught:
        await client.request("POST", "/v1/x?a=b", json={})

    assert type(caught.value) is kind


async def test_not_modified_is_an_answer_to_who_asked_for_it() -> None:
    client, _ = fake_client([FakeAnswer(304)])

    assert (await client.request("GET", "/x", headers={"if-none-match": '"a"'})).status == 304


async def test_the_rotated_key_is_asked_for_once_more() -> None:
    keys = iter(["first-key", "second-key"])
    client, transport = fake_client([FakeAnswer(401), OK], api_key=lambda: next(keys))

    await client.request("POST", "/x", json={})

    assert [str(one.headers["lume-api-key"]) for one in transport.requests] == ["first-key", "second-key"]


async def test_hooks_see_the_beginning_of_the_path() -> None:
    events: list[Any] = []
    client, _ = fake_client([OK] * 3, hooks=[events.append])

    for path in ("/healthz", "/v1/exports?token=x", "/v1/exports/exp_1/rows"):
        await client.request("GET", path)

    operations = [event.operation for event in events if isinstance(event, RequestFinished)]
    assert operations == ["GET /healthz", "GET /v1/exports", "GET /v1/exports/…"]


async def test_the_time_limit_of_a_view_is_that_of_its_requests() -> None:
    client, transport = fake_client([OK])

    await client.with_options(request_timeout=7).request("GET", "/x")

    assert transport.requests[0].timeout == 7


async def test_a_body_that_is_not_json() -> None:
    client, _ = fake_client([FakeAnswer(200, b"test-key <html>"), FakeAnswer(204)])

    for _ in range(2):
        answer = await client.request("GET", "/x?token=secret")
        with pytest.raises(ResponseDecodeError, match=r"^GET /x: the body is not JSON") as caught:
            answer.json()
        assert "html" not in str(caught.value)
        assert caught.value.__context__ is None


def test_a_mark_of_the_byte_order_is_no_part_of_json() -> None:
    assert Answer("GET", "/x", 200, {}, b"\xef\xbb\xbf{}", None, 1).json() == {}


def test_a_repr_shows_no_body_no_headers_and_no_query() -> None:
    answer = Answer("GET", "/v1/x?token=secret", 200, {"Set-Cookie": "secret"}, b"secret", "req_1", 1)

    assert repr(answer) == "Answer(method='GET', path='/v1/x', status=200, request_id='req_1', attempts=1)"


async def test_a_request_id_that_repeats_the_key_is_withheld() -> None:
    client: Client
    client, _ = fake_client([FakeAnswer(200, headers={"X-Request-Id": "a-long-key-x"})], api_key="a-long-key")

    assert "a-long-key" not in repr(await client.request("GET", "/x"))


@pytest.mark.parametrize("value", ["Bearer a-long-token", "a-long-token"])
async def test_a_secret_of_its_headers_is_withheld_without_its_scheme_too(value: str) -> None:
    client, _ = fake_client([FakeAnswer(400, {"detail": "a-long-token is unknown"})])

    with pytest.raises(InvalidRequestError, match="withheld") as caught:
        await client.request("GET", "/x", headers={"Authorization": value})

    assert "a-long-token" not in str(caught.value) + caught.value.body
