"""A client's knowledge of its server and of the runs that it submitted there; shared by the views on a client."""

import math
from collections import OrderedDict

from lume_async._base.clock import Clock
from lume_async._wire.answers import http_date
from lume_async._wire.service import Promises

GRACE = 10.0
"""Seconds after our own submission in which a 404 for the run means 'not yet'."""

REMEMBERED = 10_000
"""The maximum number of submissions in the table."""

_LONG_AGO = -math.inf, -math.inf, -math.inf


class RecentRuns:
    """A bounded table of recent submissions: a server may need a moment until it finds their runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: OrderedDict[str, tuple[float, float, float]] = OrderedDict()

    def add(self, run_id: str, not_before: float = 0.0, *, sent: float | None = None) -> None:
        """Add a run that was submitted just now; its first poll must wait for `not_before` seconds.

        Args:
            sent: the time of the request that created it, in monotonic seconds; None if an earlier one may have.
        """
        now = self._clock.now()
        self._times[run_id] = now, now + not_before, -math.inf if sent is None else sent
        if len(self._times) > REMEMBERED:
            self._times.popitem(last=False)

    def is_fresh(self, run_id: str | None, asked: float) -> bool:
        """Return whether the run was so new that a server that was `asked` then may not have found it.

        The answer may have taken long: it speaks of the time of the question, in monotonic seconds.
        """
        submitted, *_ = self._times.get(run_id or "", _LONG_AGO)
        return asked - submitted < GRACE

    def quiet_for(self, run_id: str) -> float:
        """Return the seconds for which the server asked not to poll the run; 0 or less if it may be polled."""
        _, until, _ = self._times.get(run_id, _LONG_AGO)
        return until - self._clock.now()

    def born_after(self, run_id: str) -> float:
        """Return a time after which the run was created, in monotonic seconds; minus infinity if none is known."""
        return self._times.get(run_id, _LONG_AGO)[2]


class Known:
    """Facts from the answers of a server.

    Attributes:
        promises: its promises about submissions, with those that it has announced.
        capabilities: the announced capabilities; None before the first answer that names them.
        offered: the texts of both headers, as they were announced.
        has_answered: whether it has ever responded: then the address is right, and silence means that it is away.
        silent_since: the start of the first unanswered request in a row; None after an answer.
        long_polls: the number of requests that it may hold now.
        dated: the newest `Date`, and the time of its arrival in seconds of the monotonic clock.
    """

    def __init__(self, promises: Promises) -> None:
        self.promises: Promises = promises
        self.capabilities: frozenset[str] | None = None
        self.offered: tuple[str | None, str | None] = None, None
        self.has_answered: bool = False
        self.silent_since: float | None = None
        self.long_polls: int = 0
        self.dated: tuple[str | None, float] = None, 0.0

    @property
    def date(self) -> float | None:
        """The newest `Date` in seconds since the epoch; None if there was none."""
        return http_date(self.dated[0])
