"""Stops a batch early if its first outcomes show that no source can succeed."""

from lume_async import (
    ApiConnectionError,
    AuthenticationError,
    InvalidRequestError,
    LumeError,
    LumeRun,
    Outcome,
    RunNotFoundError,
)
from lume_cli._output.errors import StoppedError

ENOUGH = 5
"""If this many outcomes at the start fail for the same permanent reason, the others would, too."""


class EarlyStop:
    """Judges the outcomes of a batch as they arrive."""

    def __init__(self, *, has_journal: bool) -> None:
        self._has_journal = has_journal
        self._seen = 0
        self._alike: set[str] = set()

    def stop(self, outcome: Outcome[LumeRun]) -> LumeError | None:
        """Take the next outcome; return the error to stop with, if the batch can no longer succeed."""
        error = outcome.error
        if isinstance(error, AuthenticationError) and error.status_code == 401:
            return error
        self._seen += 1
        self._alike.add(_kind(error))
        if error is None or self._seen != ENOUGH or len(self._alike) != 1 or "" in self._alike:
            return None
        return StoppedError(
            f"stopped: the first {ENOUGH} sources all failed with: {error}",
            self._remedy(error),
            retryable=isinstance(error, ApiConnectionError),
        )

    def _remedy(self, error: Exception) -> str:
        if isinstance(error, ApiConnectionError):
            how = "`lume doctor` finds the cause; then repeat the command"
            return f"{how}: with the journal nothing is lost" if self._has_journal else how
        if not self._has_journal:
            return "correct FLOW, or register that flow version; then repeat the command"
        # A journal would keep a permanent rejection as an outcome.
        return (
            "register that flow version and repeat the command with --retry-failed; another FLOW needs its own "
            "--journal"
        )


def _kind(error: Exception | None) -> str:
    """Return the permanent reason of a failure; empty for any other outcome."""
    match error:
        case ApiConnectionError(reached=False):
            return "no connection"
        case RunNotFoundError():
            return ""
        case InvalidRequestError(status_code=404):
            return f"no such flow version: {error.args[0]}"
        case _:
            return ""
