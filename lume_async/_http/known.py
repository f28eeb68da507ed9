"""A client's knowledge of its server; shared by the views on a client."""

from lume_async._wire.answers import http_date


class Known:
    """Facts from the answers of a server.

    Attributes:
        capabilities: the announced capabilities; None before the first answer that names them.
        offered: the same, as the text of the header.
        keys_kept: the seconds for which it keeps an idempotency key, if announced.
        has_answered: whether it has ever responded: then the address is right, and silence means that it is away.
        silent_since: the start of the first unanswered request in a row; None after an answer.
        long_polls: the number of requests that it may hold now.
        dated: the newest `Date`, and the time of its arrival in seconds of the monotonic clock.
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
