"""The rule of lost answers, as the table that its docstring shows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lume_async import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    DuplicateRunError,
    InvalidRequestError,
    RateLimitError,
    ResponseDecodeError,
    RunRequest,
    ServerError,
)
from lume_async._wire import endpoints
from lume_async._wire.answers import run_record
from lume_async._wire.call import CallState
from lume_async._wire.lost_answers import (
    Then,
    decide,
    is_new,
    is_ours,
    may_have_started_a_run,
    submission_unknown,
)
from lume_async._wire.service import FOR_EVER, LUME, USABLE, Promises
from lume_async.testing import run_json

ANY = (True, False)
ANY_KEY = (True, False, None)


def error(kind: type[ApiError], status: int | None = None, **details: Any) -> ApiError:
    return kind("x", status_code=status, **details)


def of_service(status: int) -> ApiError:
    refusal = error(InvalidRequestError, status)
    refusal._of_service = True
    return refusal


REFUSALS = [of_service(status) for status in (400, 404, 413, 422)]
OTHERS = [
    None,
    error(ApiConnectionError, reached=True),
    error(ApiConnectionError, reached=False),
    error(ResponseDecodeError, 200),
    error(ServerError, 502),
    error(ServerError, 503),
    error(RateLimitError, 429),
    error(AuthenticationError, 401),
    error(InvalidRequestError, 400),  # a gateway's: it knows nothing of what came through it before
    error(AuthenticationError, 403),
]
DUPLICATE = error(DuplicateRunError, 409)


@pytest.mark.parametrize("answer", [*REFUSALS, *OTHERS, DUPLICATE])
@pytest.mark.parametrize("refuses", ANY)
@pytest.mark.parametrize("has_key", ANY_KEY)
@pytest.mark.parametrize(("again", "then"), [(True, Then.SEND), (False, Then.RAISE)])
def test_where_no_answer_was_lost_the_error_says_it_all(
    answer: ApiError | None, refuses: bool, has_key: bool | None, again: bool, then: Then
) -> None:
    assert decide(answer, lost=False, refuses=refuses, has_key=has_key, again=again) is then


@pytest.mark.parametrize("answer", REFUSALS)
@pytest.mark.parametrize("refuses", ANY)
@pytest.mark.parametrize("has_key", ANY_KEY)
@pytest.mark.parametrize("again", ANY)
def test_the_service_refuses_for_every_attempt(
    answer: ApiError, refuses: bool, has_key: bool | None, again: bool
) -> None:
    assert decide(answer, lost=True, refuses=refuses, has_key=has_key, again=again) is Then.RAISE


@pytest.mark.parametrize("refuses", ANY)
@pytest.mark.parametrize("has_key", ANY_KEY)
@pytest.mark.parametrize("again", ANY)
def test_a_duplicate_may_be_the_lost_run(refuses: bool, has_key: bool | None, again: bool) -> None:
    assert decide(DUPLICATE, lost=True, refuses=refuses, has_key=has_key, again=again) is Then.COMPARE


@pytest.mark.parametrize("answer", OTHERS)
@pytest.mark.parametrize(
    ("again", "refuses", "has_key", "then"),
    [
        (False, True, True, Then.UNKNOWN),
        (False, False, True, Then.UNKNOWN),
        (False, False, None, Then.UNKNOWN),
        (True, True, True, Then.SEND),
        (True, True, False, Then.SEND),
        (True, True, None, Then.SEND),
        (True, False, True, Then.SEND),
        (True, False, None, Then.ASK),
        (True, False, False, Then.UNKNOWN),
    ],
)
def test_a_lost_answer_is_sent_again_only_where_that_starts_no_second_run(
    answer: ApiError | None, again: bool, refuses: bool, has_key: bool | None, then: Then
) -> None:
    assert decide(answer, lost=True, refuses=refuses, has_key=has_key, again=again) is then


@pytest.mark.parametrize(
    ("keys", "kept", "age", "has_it"),
    [
        (False, None, 0.0, False),
        (None, None, 0.0, None),
        (True, None, 1e9, True),  # it does not say how long
        (True, None, None, True),
        (True, FOR_EVER, 1e9, True),
        (True, FOR_EVER, None, True),
        (True, 1000.0, 1000 * USABLE - 1, True),
        (True, 1000.0, 1000 * USABLE, False),
        (True, 1000.0, None, False),
    ],
)
def test_a_key_counts_while_the_server_keeps_it(
    keys: bool | None, kept: float | None, age: float | None, has_it: bool | None
) -> None:
    assert Promises(keys=keys, kept=kept).keep(age) is has_it


def test_a_second_run_is_refused_where_that_is_promised_and_nobody_forces_it() -> None:
    request, forced = RunRequest("f:v1", "s.csv"), RunRequest("f:v1", "s.csv", force_rerun=True)
    assert [LUME.promises.refuse(request), LUME.promises.refuse(forced)] == [True, False]
    assert not Promises(keys=True).refuse(request)


@pytest.mark.parametrize(
    ("failure", "lost"),
    [
        (error(ApiConnectionError, reached=True), True),
        (error(ApiConnectionError, reached=False), False),
        (error(ApiTimeoutError, reached=True), True),
        (error(ApiTimeoutError, reached=False), False),
        (error(ApiConnectionError, 200, reached=True), True),  # a cut body
        (error(ResponseDecodeError, 200), True),
        (error(ResponseDecodeError, 201), True),
        (error(ResponseDecodeError, None), True),
        (error(ResponseDecodeError, 302), False),
        (error(ServerError, 500), True),
        (error(ServerError, 502), True),
        (error(ServerError, 504), True),
        (error(ServerError, 507), True),  # a gateway's
        (of_service(507), False),  # its disk is full: nothing was done
        (of_service(500), True),
        (error(ServerError, 503), False),
        (error(ApiError, 408), False),
        (error(RateLimitError, 429), False),
        (error(ApiError, 302), False),
        (error(AuthenticationError, 401), False),
        (error(InvalidRequestError, 400), False),
        (error(DuplicateRunError, 409), False),
    ],
)
def test_whether_a_run_may_exist_all_the_same(failure: ApiError, lost: bool) -> None:
    assert may_have_started_a_run(failure) is lost


SENT = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("created", "sent_at", "new"),
    [
        ("2026-01-01T12:00:00.500Z", SENT, True),
        ("2026-01-01T12:00:00.499Z", SENT, False),
        ("2026-01-01T12:00:00Z", SENT, True),  # whole seconds, rounded down: it may have been .9
        ("2026-01-01T12:00:00.500Z", SENT + 0.0009, True),  # so are milliseconds
        ("2026-01-01T12:00:00.500Z", SENT + 0.001, False),
        ("2026-01-01T12:00:00.500001Z", SENT + 0.0000017, True),  # and microseconds
        ("2026-01-01T12:00:00.500001Z", SENT + 0.0000031, False),
        ("2026-01-01T11:59:59Z", SENT, False),
        ("2026-01-01T13:00:00+01:00", SENT, True),
        ("2026-01-01T12:00:01", SENT, True),
        ("2026-01-01T12:00:01Z", None, False),
        ("yesterday", SENT, False),
        (None, SENT, False),
        (17, SENT, False),
    ],
)
def test_a_run_is_new_by_the_clock_of_the_server(created: Any, sent_at: float | None, new: bool) -> None:
    record = run_record(run_json("run_1", "CREATED", created_at=created))

    assert is_new(record, sent_at) is new


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, None, False),
        (None, None, True),
        ({}, None, True),
        (None, {}, True),
    ],
)
def test_a_new_run_is_ours_where_it_carries_our_metadata(theirs: Any, ours: Any, same: bool) -> None:
    record = run_record(run_json("run_1", "CREATED", created_at="2026-01-01T12:00:01Z", run_metadata=theirs))

    assert is_ours(record, RunRequest("f", "s", ours), SENT) is same
    assert not is_ours(record, RunRequest("f", "s", ours), SENT + 10)


def test_what_is_unknown_says_how_to_find_out() -> None:
    failure = ServerError("POST /v1/runs: 502", status_code=502, request_id="r-1")
    call = endpoints.submit(RunRequest("f:v1", "s.csv"), "key-1")

    unknown = submission_unknown(call, failure, CallState(attempts=3, lost=True), Promises(keys=None))

    assert (unknown.idempotency_key, unknown.attempts, unknown.status_code) == ("key-1", 3, 502)
    assert unknown.request_id == "r-1"
    assert unknown.request == RunRequest("f:v1", "s.csv")
    assert unknown.__cause__ is failure
    assert "list_runs(source_path=...)" in str(unknown)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (None, "idempotency_key='key-1' if the server knows such keys"),
        (FOR_EVER, "idempotency_key='key-1' if the server knows such keys"),
        (90.0, "idempotency_key='key-1' while the server knows it, which is for 90 seconds"),
        (2_592_000.0, "idempotency_key='key-1' while the server knows it, which is for 720 hours"),
    ],
)
def test_the_error_says_how_long_the_server_knows_the_key(kept: float | None, said: str) -> None:
    call = endpoints.submit(RunRequest("f:v1", "s.csv"), "key-1")
    promises = Promises(keys=True, kept=kept)
    assert said in str(submission_unknown(call, None, CallState(lost=True), promises))
