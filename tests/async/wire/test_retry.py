import pickle
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from lume_async._base.backoff import Backoff, polling
from lume_async._wire.retry import Retry, floor
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    DuplicateRunError,
    InvalidRequestError,
    RateLimitError,
    ResponseDecodeError,
    RunNotFoundError,
    ServerError,
    SubmissionUnknownError,
)

RNG = random.Random(0)
PLAIN = Retry(attempts=3, backoff=Backoff(1, maximum=8, jitter=0))


def error(kind: type[ApiError], status: int | None = None, **details: Any) -> ApiError:
    return kind("x", status_code=status, **details)


@pytest.mark.parametrize(
    ("failure", "after_first", "after_second", "after_third"),
    [
        (error(ApiConnectionError), 1, 2, None),
        (error(ApiConnectionError, reached=False), 1, 2, None),
        (error(ApiTimeoutError), 1, 2, None),
        (error(RateLimitError, 429), 1, 2, None),
        (error(RateLimitError, 429, retry_after=0), 1, 2, None),
        (error(RateLimitError, 429, retry_after=1.5), 1.5, 2, None),
        (error(RateLimitError, 429, retry_after=60), 60, 60, None),
        (error(RateLimitError, 429, retry_after=60.1), None, None, None),
        (error(ServerError, 500), 1, 2, None),
        (error(ServerError, 503, retry_after=7), 7, 7, None),
        (error(ApiError, 408, retryable=True), 1, 2, None),
        (error(ResponseDecodeError, 200), 1, 2, None),
        (error(ResponseDecodeError, 200, retryable=False), None, None, None),
        (error(ApiError, 302), None, None, None),
        (error(ApiError, 418), None, None, None),
        (error(AuthenticationError, 401), None, None, None),
        (error(AuthenticationError, 403), None, None, None),
        (error(InvalidRequestError, 422), None, None, None),
        (error(DuplicateRunError, 409), None, None, None),
        (error(RunNotFoundError, 404), None, None, None),
        (error(SubmissionUnknownError), None, None, None),
    ],
)
def test_which_failure_is_tried_again_and_when(
    failure: ApiError, after_first: float | None, after_second: float | None, after_third: float | None
) -> None:
    delays = [PLAIN.delay(failure, attempt, RNG) for attempt in (1, 2, 3)]

    assert delays == [after_first, after_second, after_third]


def test_one_attempt_switches_retries_off() -> None:
    assert Retry(attempts=1).delay(error(ServerError, 500), 1, RNG) is None


def test_the_longest_wait_is_a_setting() -> None:
    assert Retry(max_retry_after=120).delay(error(RateLimitError, 429, retry_after=90), 1, RNG) == 90


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"attempts": 0}, ValueError),
        ({"attempts": -1}, ValueError),
        ({"attempts": True}, ValueError),
        ({"attempts": 2.0}, ValueError),
        ({"attempts": None}, ValueError),
        ({"max_retry_after": -1}, ValueError),
        ({"max_retry_after": "60"}, TypeError),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Retry(**arguments)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (1, Backoff.constant(1)),
        (0, Backoff.constant(0)),
        (0.25, Backoff.constant(0.25)),
        (timedelta(minutes=2), Backoff.constant(120)),
        (Backoff(1, maximum=3), Backoff(1, maximum=3)),
    ],
)
def test_the_delays_are_given_as_poll_intervals_are(given: Any, meant: Backoff) -> None:
    assert Retry(backoff=given).backoff == meant == polling(given)


@pytest.mark.parametrize("taken_by", [lambda value: Retry(backoff=value), polling])
@pytest.mark.parametrize(
    "value", [-1, -0.1, timedelta(-1), float("nan"), "1", True, [1], {}, object(), Backoff]
)
def test_what_is_not_a_delay_is_refused_at_once_by_name(
    taken_by: Callable[[Any], object], value: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^(backoff|poll_interval) must be"):
        taken_by(value)


def test_none_is_the_librarys_own_backoff() -> None:
    assert Retry(backoff=None) == Retry() == Retry(backoff=Backoff(0.5, maximum=8.0))


def test_a_policy_pickles() -> None:
    assert pickle.loads(pickle.dumps(PLAIN)) == PLAIN


@pytest.mark.parametrize(
    ("asked", "kept"), [(None, 0), (0, 0), (7.5, 7.5), (3_600, 3_600), (99_999_999_999, 3_600)]
)
def test_who_comes_back_anyway_is_kept_away_for_an_hour_at_the_most(asked: float | None, kept: float) -> None:
    assert floor(asked) == kept
