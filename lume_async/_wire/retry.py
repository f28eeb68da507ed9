"""`Retry`: which failed requests are retried, and when. Pure."""

from attrs import field, frozen

from lume_async._base import arguments
from lume_async._base.backoff import Backoff, PollInterval, Rng, backoff
from lume_async._base.duration import Duration, seconds
from lume_async._base.public import public
from lume_async.errors import ApiError


def _longest(value: Duration) -> float:
    return seconds(value, "max_retry_after")


def _between(value: PollInterval) -> Backoff:
    return _DEFAULT if value is None else backoff(value, "backoff")


_DEFAULT = Backoff(0.5, maximum=8.0)
LONGEST_FLOOR = 3_600.0
"""The longest delay, in seconds, that a `Retry-After` can cause for a poll or an item of a batch: one wrong header
must not delay it for ever."""


def floor(retry_after: float | None) -> float:
    """Return the minimum delay, in seconds, that a `Retry-After` causes for a poll or an item of a batch."""
    return min(retry_after or 0.0, LONGEST_FLOOR)


@public
@frozen
class Retry:
    """When and how often a failed request is retried.

    Requests without a complete response (refused, reset, cut off, timed out), 408, 429, 5xx, and responses that
    can't be decoded are retried. Submissions have additional rules: see `SubmissionUnknownError`.

    Args:
        attempts: the maximum number of attempts; 1 disables retries.
        backoff: the delays between attempts: seconds or a `timedelta` for a constant one, a `Backoff`, or None for
            the library's. The server's `Retry-After` can make one longer, never shorter.
        max_retry_after: seconds or a `timedelta`; if a `Retry-After` exceeds it, the error is raised at once.

    Examples:
        >>> retry = Retry(attempts=5, backoff=Backoff(1, maximum=30), max_retry_after=120)
    """

    attempts: int = field(default=3, validator=arguments.validator(arguments.whole))
    backoff: Backoff = field(default=None, converter=_between)
    max_retry_after: float = field(default=60.0, converter=_longest)

    def delay(self, error: ApiError, attempt: int, rng: Rng) -> float | None:
        """Return the seconds to wait after `attempt` attempts, 1 or more; None for no further attempt.

        Examples:
            >>> import random
            >>> print(Retry(backoff=2).delay(ServerError("503"), 1, random))
            2.0
        """
        if not error.retryable or attempt >= self.attempts:
            return None
        asked = error.retry_after or 0.0
        if asked > self.max_retry_after:
            return None
        return max(asked, self.backoff.delay(attempt - 1, rng))
