"""Exit codes, and their order from worst to best. Pure."""

from collections.abc import Iterable
from typing import Final

from lume_async import AuthenticationError, InvalidRequestError, RunFailedError, RunStatus, RunTimeoutError
from lume_cli._output.errors import NotSubmittedError
from lume_cli._settings import MissingKeyError

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
FAILED: Final = 3
AUTHENTICATION: Final = 4
PARTIAL_FAILED: Final = 5
CRASHED: Final = 6
NOT_CONFORMING: Final = 7
TIMED_OUT: Final = 124

_WORST_FIRST = (AUTHENTICATION, USAGE, ERROR, NOT_CONFORMING, CRASHED, FAILED, TIMED_OUT, PARTIAL_FAILED, OK)
"""First errors that say nothing about the run, then failures, then unknown outcomes, then partial success."""


def worst(codes: Iterable[int]) -> int:
    """Return the worst code; 0 if there are none."""
    return min(codes, key=_WORST_FIRST.index, default=OK)


def of_status(status: RunStatus | None, *, allow_partial: bool = False) -> int:
    """Return the code of a finished run; an unknown terminal status is never a success."""
    match status:
        case RunStatus.SUCCEEDED:
            return OK
        case RunStatus.PARTIAL_FAILED:
            return OK if allow_partial else PARTIAL_FAILED
        case RunStatus.CRASHED | RunStatus.CANCELLED:
            return CRASHED
        case _:
            return FAILED


def of_error(error: BaseException) -> int:
    """Return the code of an exception that a command raised."""
    match error:
        case RunTimeoutError() | NotSubmittedError():
            return TIMED_OUT
        case RunFailedError():
            return of_status(error.run.status if error.run is not None else None)
        case AuthenticationError() | MissingKeyError():
            return AUTHENTICATION
        case InvalidRequestError(status_code=None):
            return USAGE  # an argument that can never be valid: nothing was sent
        case _:
            return ERROR
