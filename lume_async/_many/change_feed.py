"""The change feed: one long-polled request instead of one poll per run, and the check that it is complete."""

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
"""Seconds between two checks of whether the server announces the capability."""

GATHER = 0.045
"""Seconds to wait after a change, so that a busy server is not asked for each change separately. They delay an end by
half of them on average."""

TOLERATED = 5.0
"""Seconds of failures after which the runs are polled instead."""

SAMPLING = 10.0
"""Seconds between two samples; a feed that misses ends is detected within three of them."""
RUNS_PER_SAMPLE = 100
"""One run in this many is polled by each sample."""
GRACE = 6.0
"""Seconds that the feed may report an end later than a poll."""
DISTRUST = 300.0
"""Seconds until a feed that did not report an end is trusted again."""


class Hold:
    """How long the server may hold a request, adapted to gateways that cut off idle requests.

    A cut-off shortens it at once; it grows back slowly, as the gateway may be gone.
    """

    SHORTEST = 1.0
    MARGIN = 0.8
    """The next hold, as a share of the time until the cut-off."""
    SLACK = 1.0
    """Seconds by which a gateway may cut off late."""
    GROWTH, CALM = 1.5, 10
    """After `CALM` complete holds, the next ones are longer by half."""

    def __init__(self) -> None:
        self.seconds = LONGEST_HOLD
        self._calm = 0

    def shorten(self, after: float) -> bool:
        """Shorten the hold if a request that failed `after` seconds was cut off; return whether it was."""
        self._calm = 0
        if not self.SHORTEST <= after <= self.seconds + self.SLACK:
            return False  # refused at once, or the server itself is too slow
        self.seconds = max(self.SHORTEST, math.floor(after * self.MARGIN))
        return True

    def completed(self) -> None:
        """Count a request that was held to its end."""
        self._calm += 1
        if self._calm >= self.CALM and self.seconds < LONGEST_HOLD:
            self._calm = 0
            self.seconds = min(LONGEST_HOLD, math.ceil(self.seconds * self.GROWTH))


class ChangeFeed:
    """Follows all status changes of a server, while it announces the capability `changes`.

    The server is also asked for the records of ended runs; if it refuses, the feed works without them.

    Args:
        on_change: called with the latest change of a run in a page (or with its end, which outranks all others), and
            the time of the request.
        on_switch: called with two flags: every change is reported from now on; some changes may have been missed.
            If the cursor is valid, the server reports the changes during a failure later.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        on_change: Callable[[Change, float], None],
        on_switch: Callable[[bool, bool], None],
    ) -> None:
        self._sender = sender
        self._on_change = on_change
        self._on_switch = on_switch
        self._hold = Hold()
        self._cursor: str | None = None
        self._with_runs = True
        self._asked = 0.0
        self._idle = 0
        self._page: list[tuple[str, str]] = []  # the newest one

    async def follow(self) -> None:
        """Follow until cancelled, through all failures."""
        sender = self._sender
        failures, failing_since = 0, 0.0
        while True:
            if not sender.can("changes"):
                self._reset()
                await sender.clock.sleep(RECHECK)
                continue
            self._asked = sender.clock.now()
            try:
                pause = await self._read()
                failures = 0
            except ApiError as error:
                now = sender.clock.now()
                failing_since = failing_since if failures else now
                pause = self._pause(error, failures, now - failing_since)
                failures += 1
            await sender.clock.sleep(pause)

    async def _read(self) -> float:
        """Report the changes since the cursor; return the seconds to wait before the next request."""
        sender, missed = self._sender, self._cursor is None
        hold = self._hold.seconds if sender.can("wait") and not missed else 0.0
        call = endpoints.changes(self._cursor, hold=hold, with_runs=self._with_runs and not missed)
        page = await sender.send(call, once=True)
        self._cursor = page.cursor
        self._on_switch(True, missed)
        # Only the last change of a run: a poll may have shown the earlier ones. Ends come last, as they are final.
        latest = {change.id: change for change in sorted(page.items, key=lambda change: change.is_end)}
        for change in latest.values():
            self._on_change(change, self._asked)
        waited = sender.clock.now() - self._asked
        before, self._page = self._page, [(change.id, change.status) for change in page.items]
        if missed:
            return 0.0
        has_news = self._page and self._page != before  # a server may repeat its newest changes for ever
        if has_news or (hold and waited >= SHORTEST_HOLD):
            self._idle = 0
            if waited >= hold > 0:
                self._hold.completed()
            return GATHER if page.items else 0.0
        self._idle += 1  # the server did not hold the request, or has nothing new: avoid a busy loop
        return POLLING.delay(self._idle - 1, sender.rng)

    def _pause(self, error: ApiError, failures: int, failing_for: float) -> float:
        """Return the seconds to wait after a failure; an error of the feed itself resets the cursor."""
        sender = self._sender
        if self._with_runs and self._cursor is not None and not error.retryable:
            self._with_runs = False  # a server may not know the parameter
            return floor(error.retry_after)
        cut_off = self._hold.shorten(sender.clock.now() - self._asked)
        if not error.retryable or self._cursor is None:
            self._reset()  # such as an expired cursor
        elif failing_for >= TOLERATED:
            self._on_switch(False, True)  # poll the runs; the cursor may still be valid
        if cut_off and failures == 0:
            return floor(error.retry_after)
        return max(floor(error.retry_after), POLLING.delay(failures, sender.rng))

    def _reset(self) -> None:
        self._cursor, self._with_runs = None, True
        self._on_switch(False, True)


class FeedCheck:
    """Checks by sampling whether the feed is complete: compares the ends it reports with the ends that polls find.

    The time is an argument.
    """

    def __init__(self) -> None:
        self._unreported: dict[str, float] = {}  # ends shown only by a poll, with their times
        self._distrusted_until = -math.inf

    def note_polled_end(self, run_id: str, now: float) -> None:
        """Note an end that a poll has shown and the feed has not reported yet."""
        self._unreported[run_id] = now

    def note_report(self, run_id: str) -> None:
        """Note that the feed has reported the end of the run."""
        self._unreported.pop(run_id, None)

    def reset(self) -> None:
        """Forget unreported ends, because the feed was interrupted."""
        self._unreported.clear()

    def is_trusted(self, now: float) -> bool:
        """Return whether the feed has reported, within `GRACE`, every end that polls have shown."""
        if any(now - seen > GRACE for seen in self._unreported.values()):
            self._unreported.clear()
            self._distrusted_until = now + DISTRUST
        return now >= self._distrusted_until
