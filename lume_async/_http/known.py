"""What a client has learned of its server; shared by the views on a client."""

from lume_async._wire.answers import http_date


class Known:
    """What the answers of a server have said.

    Attributes:
        capabilities: those that it announces; None before the first answer that names them.
        offered: the same, as the text of the header.
        keys_kept: for how many seconds it knows an idempotency key, if it says so.
        has_answered: whether it has ever responded: if it then does not, it is away, and the address is right.
        silent_since: when the first of the requests in a row began that got no answer; None after an answer.
        long_polls: the number of requests that it may hold now.
        dated: the newest `Date`, and when it came, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.capabilities: frozenset[str] | None = None
        self.offered: str | None = None
        self.keys_kept: float | None = None
        self.has_answered: bool = False
        self.silent_since: float | None = None
        self.long_polls: int = 0
        self.dated: tuple[str | None, float] = None, 0.0

    @property
    def date(self) -> float | None:
        """The newest `Date` in seconds since the epoch; None if there was none."""
        return http_date(self.dated[0])
