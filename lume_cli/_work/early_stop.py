"""Whether a batch can succeed at all: where its beginning says no, it ends there and not after all sources."""

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
"""Outcomes at the beginning that fail in the same hopeless way: the others would, too."""


class Hope:
    """Looks at the outcomes of a batch as they come.

    Args:
        has_journal: whether the batch has one.
    """

    def __init__(self, *, has_journal: bool) -> None:
        self._has_journal = has_journal
        self._seen = 0
        self._alike: set[str] = set()

    def stop(self, outcome: Outcome[LumeRun]) -> LumeError | None:
        """Look at the next outcome: the error to stop with, where nothing else can come any more."""
        error = outcome.error
        if isinstance(error, AuthenticationError) and error.status_code == 401:
            return error
        self._seen += 1
        self._alike.add(_kind(error))
        if error is None or self._seen != ENOUGH or len(self._alike) != 1 or "" in self._alike:
            return None
        return StoppedError(
            f"stopped, the first {ENOUGH} sources all failed like this: {error}",
            self._how_to_go_on(error),
            retryable=isinstance(error, ApiConnectionError),
        )

    def _how_to_go_on(self, error: Exception) -> str:
        if isinstance(error, ApiConnectionError):
            how = "`lume doctor` finds out what is wrong; then give the same command again"
            return f"{how}: with the journal nothing is lost" if self._has_journal else how
        if not self._has_journal:
            return "correct FLOW, or give the server that flow version; then give the command again"
        # What the server has refused for good is an outcome, and a journal keeps outcomes.
        return (
            "give the server that flow version, then the same command with --retry-failed; another FLOW needs a "
            "--journal of its own"
        )


def _kind(error: Exception | None) -> str:
    """What failures of the same hopeless kind have in common; empty for anything else."""
    match error:
        case ApiConnectionError(reached=False):
            return "no connection"
        case RunNotFoundError():
            return ""
        case InvalidRequestError(status_code=404):
            return f"no such flow version: {error.args[0]}"
        case _:
            return ""
