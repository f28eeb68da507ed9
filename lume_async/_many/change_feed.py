"""The change feed: one long-polled request in place of a poll of each run."""

import math
from collections.abc import Callable

from lume_async._base.backoff import POLLING
from lume_async._http.sender import Sender
from lume_async._run.poll import SHORTEST_HOLD
from lume_async._wire import endpoints
from lume_async._wire.endpoints import LONGEST_HOLD, Change
from lume_async._wire.retry import floor
from lume_async.errors import ApiError

RECHECK = 5.0
"""Seconds between two checks of whether the server has got the capability meanwhile."""

GATHER = 0.06
"""Seconds in which further changes gather before they are asked for: else a busy server gets a request for each."""

TOLERATED = 5.0
"""Seconds of failures after which the runs are polled instead; a request that was cut off is no failure."""


class Hold:
    """How long the server is asked to hold a request: no longer than what stands between lets it.

    A gateway that cuts idle requests off makes it shorter at once; it grows back slowly, as the gateway may be gone.
    """

    SHORTEST = 1.0
    MARGIN = 0.8
    """What share of the time after which a request was cut off the next one is held."""
    SLACK = 1.0
    """Seconds by which a gateway of the same patience may be late."""
    GROWTH, CALM = 1.5, 10
    """So many requests that were held to their end make it longer by half."""

    def __init__(self) -> None:
        self.seconds = LONGEST_HOLD
        self._calm = 0

    def cut_off(self, after: float) -> bool:
        """Whether a request that failed after so many seconds was cut off, and the next one should be shorter."""
        self._calm = 0
        if not self.SHORTEST <= after <= self.seconds + self.SLACK:
            return False  # refused at once, or by a server that is too slow for any hold
        self.seconds = max(self.SHORTEST, math.floor(after * self.MARGIN))
        return True

    def kept(self) -> None:
        """A request was held to its end."""
        self._calm += 1
        if self._calm >= self.CALM and self.seconds < LONGEST_HOLD:
            self._calm = 0
            self.seconds = min(LONGEST_HOLD, math.ceil(self.seconds * self.GROWTH))


class ChangeFeed:
    """Follows all status changes of a server, as long as it has the capability `changes`.

    Args:
        changed: called with where each run is now that has changed, and when the server was asked for that.
        switched: called with whether every change is reported from now on, and whether some may have been
            missed: where the cursor is still good, the server reports what came during a failure.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        changed: Callable[[Change, float], None],
        switched: Callable[[bool, bool], None],
    ) -> None:
        self._sender = sender
        self._changed = changed
        self._switched = switched
        self._hold = Hold()
        self._cursor: str | None = None
        self._asked = 0.0
        self._idle = 0

    async def follow(self) -> None:
        """Follow for ever; failures are waited out."""
        sender = self._sender
        failures, failing_since = 0, 0.0
        while True:
            if not sender.can("changes"):
                self._lose()
                await sender.clock.sleep(RECHECK)
                continue
            self._asked = sender.clock.now()
            try:
                pause = await self._read_on()
                failures = 0
            except ApiError as error:
                now = sender.clock.now()
                failing_since = failing_since if failures else now
                pause = self._pause(error, failures, now - failing_since)
                failures += 1
            await sender.clock.sleep(pause)

    async def _read_on(self) -> float:
        """Take what has changed since the cursor; returns for how many seconds further changes should gather."""
        sender, missed = self._sender, self._cursor is None
        hold = self._hold.seconds if sender.can("wait") and not missed else 0.0
        page = await sender.send(endpoints.changes(self._cursor, hold=hold), once=True)
        self._cursor = page.next_cursor
        self._switched(True, missed)
        # Of several changes of a run only the last is news: a poll may have shown those before it already.
        for change in {change.id: change for change in page.items}.values():
            self._changed(change, self._asked)
        waited = sender.clock.now() - self._asked
        if missed:
            return 0.0
        if page.items or waited >= SHORTEST_HOLD:
            self._idle = 0
            if waited >= hold > 0:
                self._hold.kept()
            return GATHER if page.items else 0.0
        self._idle += 1  # a server that does not hold the request must not be asked in a busy loop
        return POLLING.delay(self._idle - 1, sender.rng)

    def _pause(self, error: ApiError, failures: int, failing_for: float) -> float:
        """How long to leave the feed alone after a failure; gives it up where that is one of the feed itself."""
        sender = self._sender
        cut_off = self._hold.cut_off(sender.clock.now() - self._asked)
        if not error.retryable or self._cursor is None:
            self._lose()  # such as an expired cursor: begin anew
        elif failing_for >= TOLERATED:
            self._switched(False, True)  # polled meanwhile; the cursor may still be good
        if cut_off and failures == 0:
            return floor(error.retry_after)
        return max(floor(error.retry_after), POLLING.delay(failures, sender.rng))

    def _lose(self) -> None:
        self._cursor = None
        self._switched(False, True)
