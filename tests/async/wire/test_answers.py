"""An answer becomes a value or an error: tables of what servers and proxies send."""

import math
import os
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from lume_async._wire.answers import decode_object, error_from, http_date, retry_after, run_record, snippet
from lume_async._wire.call import Response
from lume_async._wire.endpoints import duplicate
from lume_async.errors import (
    ApiError,
    AuthenticationError,
    DuplicateRunError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RunNotFoundError,
    ServerError,
)

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
MOMENT = 1_445_412_480.0
NEVER = math.inf


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(
        status, CIMultiDict({name.replace("_", "-"): text for name, text in headers.items()}), body
    )


@pytest.fixture
def new_york() -> Any:
    """A machine that does not live in UTC."""
    if not hasattr(time, "tzset"):
        yield  # where its machine lives
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("5", 5),
        (" 5 ", 5),
        ("+5", 5),
        ("1.5", 1.5),
        ("5.", 5),
        ("007", 7),
        ("-5", 0),
        ("-0.1", 0),
        ("315360000", 315_360_000),
        ("", None),
        ("  ", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("Infinity", None),
        ("1e3", None),
        ("0x10", None),
        ("1,5", None),
        ("5 seconds", None),
        ("--5", None),
        ("+-5", None),
        (".", None),
        ("1.2.3", None),
        ("٣", None),
        ("²", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("Wednesday, 21-Oct-15 07:28:10 GMT", 10),
        ("Wed Oct 21 07:28:10 2015", 10),
        ("Wed, 21 Oct 2015 09:28:10 +0200", 10),
        ("Wed, 21 Oct 2015 07:28:10 -0000", 10),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_956_888_319),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Wed, 99 Oct 2015 07:28:10 GMT", None),
        ("2015-10-21T07:28:10Z", None),
        ("Mon, ", None),
        (",", None),
    ],
)
@pytest.mark.usefixtures("new_york")
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(CIMultiDict({"Retry-After": text, "Date": DATE})) == seconds


def test_no_retry_after() -> None:
    assert retry_after({}) is None


@pytest.mark.parametrize("skew", [-86_400, 0, 86_400])
def test_a_date_is_seen_from_the_servers_own_clock(skew: int) -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:10 GMT", "Date": DATE}

    assert retry_after(headers, wall=MOMENT + skew) == 10


@pytest.mark.parametrize(
    ("date", "wall", "seconds"),
    [
        (None, MOMENT + 4, 6),
        ("nonsense", MOMENT + 4, 6),
        (None, MOMENT + 60, 0),
        (None, math.nan, None),
    ],
)
def test_without_the_servers_clock_ours_has_to_do(
    date: str | None, wall: float, seconds: float | None
) -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:10 GMT"} | ({"Date": date} if date else {})

    assert retry_after(headers, wall) == seconds


@given(st.text(), st.text())
def test_no_retry_after_is_ever_an_error_or_endless(text: str, date: str) -> None:
    seconds = retry_after({"Retry-After": text, "Date": date}, 0.0)

    assert seconds is None or 0 <= seconds < math.inf


@given(st.from_regex(r"[+-]{0,3}[0-9]{0,400}\.?[0-9]{0,5}", fullmatch=True))
def test_no_number_is_ever_an_error(text: str) -> None:
    seconds = retry_after({"Retry-After": text})

    assert seconds is None or 0 <= seconds < math.inf


@pytest.mark.parametrize(
    ("text", "moment"), [(DATE, MOMENT), (None, None), ("", None), ("nonsense", None), ("5", None)]
)
def test_http_date(text: str | None, moment: float | None) -> None:
    assert http_date(text) == moment


# JSON


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b' \r\n{"a": "\xc3\xbc"} ', {"a": "ü"}),
    ],
)
def test_json(body: bytes, value: Any) -> None:
    assert decode_object(body) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"<html>\n<h1>Welcome</h1>", "<html>"),
        (b'{"a": 1', '{"a": 1'),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": "\xfc"}', "\ufffd"),
        ('{"a": 1}'.encode("utf-16"), "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"\xef\xbb\xbf", "an empty body"),
    ],
)
def test_what_is_no_json(body: bytes, reason: str) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        decode_object(body)

    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_500
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[]", "list"), (b"null", "NoneType"), (b'"x"', "str"), (b"5", "int")]
)
def test_what_is_no_object(body: bytes, kind: str) -> None:
    with pytest.raises(ResponseDecodeError, match=rf"expected an object, got {kind} @ \$$"):
        decode_object(body)


# A run


def test_a_run_needs_an_id_and_a_status() -> None:
    raw = {"id": "run_1", "status": "TRANSFORMING", "new": 1, "metadata": "not even an object"}

    record = run_record(raw, etag='"e"')

    assert (record.id, record.status, record.etag, record.raw) == ("run_1", "TRANSFORMING", '"e"', raw)


@pytest.mark.parametrize("found", ["run_2", None, "a/b"])
def test_the_run_that_was_asked_for_is_wanted_and_no_other(found: object) -> None:
    raw = {"id": found, "status": "CREATED"}

    with pytest.raises(ResponseDecodeError, match=rf"expected the run run_1, got {found!r} @ \$\.id"):
        run_record(raw, run_id="run_1")

    assert run_record(raw | {"id": "run_1"}, run_id="run_1").id == "run_1"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "expected an object, got NoneType @ $"),
        ([], "expected an object, got list @ $"),
        ({"id": "r"}, "expected a status, got None @ $.status"),
        ({"id": "r", "status": None}, "expected a status, got None @ $.status"),
        ({"id": "r", "status": ""}, "expected a status, got '' @ $.status"),
        ({"id": "r", "status": 5}, "expected a status, got 5 @ $.status"),
        ({"id": "r", "status": ["x" * 99]}, "… @ $.status"),
        ({"status": "CREATED"}, "expected a run id, got None @ $.id"),
        ({"id": "", "status": "CREATED"}, "expected a run id, got '' @ $.id"),
        ({"id": "a/b", "status": "CREATED"}, "expected a run id, got 'a/b' @ $.id"),
        ({"id": 5, "status": "CREATED"}, "expected a run id, got 5 @ $.id"),
    ],
)
def test_what_is_no_run(raw: Any, reason: str) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        run_record(raw)

    assert reason in str(caught.value)
    assert caught.value.retryable


def test_a_run_in_a_list_says_its_place() -> None:
    with pytest.raises(ResponseDecodeError, match=r"@ \$\.items\[3\]\.status"):
        run_record({"id": "r"}, at="$.items[3]")


# Errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, ApiError),
        (302, ApiError),
        (307, ApiError),
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, ApiError),
        (403, PermissionDeniedError),
        (404, InvalidRequestError),
        (405, ApiError),
        (408, ApiError),
        (409, InvalidRequestError),
        (410, ApiError),
        (413, InvalidRequestError),
        (418, ApiError),
        (422, InvalidRequestError),
        (429, RateLimitError),
        (500, ServerError),
        (501, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (599, ServerError),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b'{"title": "Nope", "detail": "because", "run_id": "run_1"}',
        b'\xef\xbb\xbf{"detail": "because"}',
        b'{"detail": NaN}',
        b'{"detail": "cut',
        b'["a list"]',
        b"Fehler: \xfcberlastet",
        b"\x00\xff\xfe",
        b"x" * 70_000,
    ],
)
def test_the_status_alone_decides_the_kind(status: int, kind: type[ApiError], body: bytes) -> None:
    error = error_from(answer(status, body))

    assert type(error) is kind
    assert error.status_code == status
    assert str(status) in str(error)
    assert len(error.body) <= 2048
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (302, False),
        (400, False),
        (404, False),
        (408, True),
        (418, False),
        (429, True),
        (500, True),
        (503, True),
    ],
)
def test_whether_it_may_succeed_later(status: int, retryable: bool) -> None:
    assert error_from(answer(status)).retryable is retryable


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "502 Bad Gateway: no error details in the response"),
        (b"   ", "502 Bad Gateway: no error details in the response"),
        (b'{"detail": "the words", "title": "T"}', "502 Bad Gateway: the words"),
        (b'{"title": "T"}', "502 Bad Gateway: T"),
        (b'{"message": "m"}', "502 Bad Gateway: m"),
        (b'\xef\xbb\xbf{"title": "T"}', "502 Bad Gateway: T"),
        (b'{"detail": ["a"]}', '502 Bad Gateway: {"detail": ["a"]}'),
        (b"<h1>Bad</h1>", "502 Bad Gateway: <h1>Bad</h1>"),
        (b"Fehler: \xfc", "502 Bad Gateway: Fehler: \ufffd"),
        (b"two\r\nlines \x1b[31m", "502 Bad Gateway: two lines [31m"),
        (b'{"detail": "two\\nlines"}', "502 Bad Gateway: two lines"),
    ],
)
def test_the_message_is_one_line_in_the_servers_words(body: bytes, message: str) -> None:
    assert str(error_from(answer(502, body))) == message


def test_a_redirect_says_what_to_do() -> None:
    message = str(error_from(answer(307, b"moved", Location="https://elsewhere.example")))

    assert message.startswith("307 Temporary Redirect: redirects are never followed: set base_url")


def test_a_304_that_nobody_asked_for_is_no_redirect() -> None:
    message = str(error_from(answer(304, b"")))

    assert message.startswith("304 Not Modified: the request was not conditional")


def test_a_status_without_a_name() -> None:
    assert str(error_from(answer(599, b"x"))) == "599 unknown status: x"


def test_details_come_along() -> None:
    error = error_from(answer(503, b"busy", Retry_After="7", X_Request_Id="req_9"))

    assert (error.retry_after, error.request_id, error.body) == (7, "req_9", "busy")


def test_a_retry_date_without_the_servers_clock_is_seen_from_ours() -> None:
    error = error_from(answer(503, Retry_After="Wed, 21 Oct 2015 07:28:10 GMT"), wall=MOMENT)

    assert error.retry_after == 10


@pytest.mark.parametrize(("on_run", "kind"), [(True, RunNotFoundError), (False, InvalidRequestError)])
def test_a_404_on_a_run_is_about_the_run(on_run: bool, kind: type[ApiError]) -> None:
    assert type(error_from(answer(404), on_run=on_run)) is kind


@pytest.mark.parametrize(
    ("body", "run_id"),
    [
        (b'{"run_id": "run_1"}', "run_1"),
        (b'\xef\xbb\xbf{"run_id": "run_1"}', "run_1"),
        (b'{"run_id": null}', None),
        (b'{"run_id": 5}', None),
        (b'{"run_id": "../admin"}', None),
        (b'{"run_id": ""}', None),
        (b"{}", None),
        (b"", None),
        (b"run_1", None),
    ],
)
def test_a_duplicate_names_the_run(body: bytes, run_id: str | None) -> None:
    error = error_from(answer(409, body), refusal=duplicate)

    assert isinstance(error, DuplicateRunError)
    assert error.run_id == run_id


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"short", "short"), (b"x" * 200, "x" * 200), (b"x" * 201, "x" * 200 + "…"), (b"\xff", "\ufffd")],
)
def test_snippet(body: bytes, text: str) -> None:
    assert snippet(body) == text
