"""Exit codes, as a table."""

import itertools

import pytest

from lume_async import (
    ApiConnectionError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    PermissionDeniedError,
    RunFailedError,
    RunStatus,
    RunTimeoutError,
    ServerError,
)
from lume_cli._output import exit_codes
from lume_cli._settings import MissingKeyError


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("SUCCEEDED", 0),
        ("PARTIAL_FAILED", 5),
        ("FAILED", 3),
        ("CRASHED", 6),
        ("CANCELLED", 6),
        ("SOMETHING_NEW", 3),
        ("TRANSFORMING", 3),
    ],
)
def test_of_a_status(status: str, code: int) -> None:
    assert exit_codes.of_status(RunStatus(status)) == code


def test_a_partial_failure_may_be_allowed() -> None:
    assert exit_codes.of_status(RunStatus.PARTIAL_FAILED, allow_partial=True) == 0
    assert exit_codes.of_status(RunStatus.FAILED, allow_partial=True) == 3


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AuthenticationError("no", status_code=401), 4),
        (PermissionDeniedError("no", status_code=403), 4),
        (MissingKeyError("none"), 4),
        (ConfigurationError("bad"), 1),
        (RunTimeoutError("late"), 124),
        (RunFailedError("bad"), 3),
        (InvalidRequestError("no id"), 2),
        (InvalidRequestError("refused", status_code=422), 1),
        (ApiConnectionError("gone"), 1),
        (ServerError("oops", status_code=500), 1),
        (ZeroDivisionError("bug"), 1),
    ],
)
def test_of_an_error(error: Exception, code: int) -> None:
    assert exit_codes.of_error(error) == code


def test_the_worst_wins_in_any_order() -> None:
    ranking = [4, 2, 1, 7, 6, 3, 124, 5, 0]
    for better, worse in itertools.combinations(reversed(ranking), 2):
        assert exit_codes.worst([better, worse]) == exit_codes.worst([worse, better]) == worse
    assert exit_codes.worst([]) == 0
