"""`Throttle`: how fast one client may send, learned from what the server refuses. Pure: the time is an argument.

What refusals mean is decided in `refusals.py`. The reasons and the figures: docs/design/throttle.md.
"""

import math

from attrs import define

from lume_async._http.refusals import SECOND, RateTrial, Verdict, Window, long_row
from lume_async._wire.rate_limit import Refusal

SLOWEST, FIRST_RATE = 1.0, 10.0
"""Requests a second while nothing is taken, and from the first success on at least."""

PROBES = 0.08
"""While nothing is taken: the pause between two requests, as a share of the time for which it has been so. 17
requests in an outage of half a minute, which is over for at most 2.4 seconds before it is noticed."""

LONGEST_PAUSE = 30.0
"""Seconds that such a pause takes at the most, whatever the server asks for, where the client says nothing else."""

DEPTH = 0.9
"""What share of what the server takes a lower rate uses."""

FIRST_DEPTH, CHEAP = 0.25, 100.0
"""A first trial uses a quarter of that, so that it shows something, but not less than 100 requests a second: there
it takes under a second without."""

QUICK, SLOW = 2.0, 0.02
"""What a success adds to the rate, in requests a second: 2 (the rate triples in half a second) where it is far from
what was too much, 0.02 (2 % a second) near it."""

RETURN, BEYOND = 0.7, 1.5
"""Where near it begins and ends, against the last rate that was found to be right. Up to 0.7 of it a single success
leads; beyond 1.5 times as much the limit has moved."""

PATIENCE, LONGEST_PATIENCE = 1.0, 4.0
"""Seconds without an alarm in which the slow growth doubles. Twice as long after each alarm at which the server took
nothing for a while, as one that counts what it refuses does: there every step too far costs a second."""

QUIET, QUOTA_LASTS = 12.0, 60.0
"""Seconds without an alarm after which the rate is unlimited again; where the server named its quota, longer."""


@define
class _Recent:
    """Successes of about the last second."""

    since: float = 0.0
    taken: float = 0.0

    def count(self, now: float) -> None:
        if now - self.since > SECOND:
            self.since, self.taken = (self.since + now) / 2, self.taken / 2
        self.taken += 1

    def goodput(self, now: float) -> float | None:
        """Those a second; None: there was none, or in too short a time."""
        length = now - self.since
        return self.taken / length if self.taken and length >= SECOND / 2 else None


class Throttle:
    """When the next request may be sent.

    Args:
        longest: seconds that a pause of all requests takes at the most, whatever the server asks for.
    """

    def __init__(self, longest: float = LONGEST_PAUSE) -> None:
        self.epoch = 0
        """Counts the cuts of the rate; an answer belongs to the epoch in which its request was sent."""
        self.rate: float | None = None
        """Requests a second; None: unlimited, as almost always."""
        self._longest = longest
        self._next = self._alarmed = -math.inf
        self._expected = 0.0  # the share of refusals that no lower rate would change
        self._window: Window | None = None
        self._trial: RateTrial | None = None
        self._row = Window(0.0)  # refusals without a success between them
        self._nothing_since: float | None = None  # while the server takes nothing
        self._recent = _Recent()
        self._right = math.inf  # the last rate that was found to be right; infinite: none was
        self._quota = math.inf  # what the server says that it allows
        self._patience = PATIENCE

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        return 0.0 if self.rate is None else self._next - now

    @property
    def opens_at(self) -> float:
        """When the next request may be sent, where the rate is limited."""
        return -math.inf if self.rate is None else self._next

    def take(self, now: float) -> None:
        """A request is sent now."""
        if self.rate is not None:
            self._next = max(now, self._next) + 1 / self.rate

    def succeeded(self, now: float, epoch: int) -> None:
        """The server took a request that was sent in `epoch`."""
        rate, window = self.rate, self._window
        if (rate is None and window is None) or epoch != self.epoch:
            return  # almost always: nothing can follow from it
        self._row.answers = self._row.refusals = 0
        self._nothing_since = None
        if rate is not None:
            self._recent.count(now)
            if self._trial is None:
                self._grow(rate, now)
        if window is not None:
            window.count(refused=False)
            self._look(window, now, refused=False)

    def refused(self, now: float, epoch: int, refusal: Refusal) -> None:
        """The server said 429 or 503 to a request that was sent in `epoch`."""
        if epoch != self.epoch:
            return  # the rate has changed since
        row, window = self._row, self._window
        if not row.refusals:
            row.since = now
        row.count(refused=True)
        if refusal.rate is not None and (self.rate or math.inf) > max(SLOWEST, refusal.rate):
            self._obey(max(SLOWEST, refusal.rate), refusal.wait or 0.0, now)
            return
        if row.refusals >= long_row(self._expected, self._trial, limited=self.rate is not None):
            self._trial = None
            if self._nothing_since is None:
                self._nothing_since = row.since
            self._slow_down(row, now)
        elif window is None:  # the first one says nothing of the share
            self._window = Window(now)
        else:
            window.count(refused=True, timed=refusal.wait is not None)
            self._look(window, now, refused=True)
        if self._nothing_since is not None:
            pause = PROBES * (now - self._nothing_since) if refusal.wait is None else refusal.wait
            self._next = max(self._next, now + min(self._longest, pause))

    def _look(self, window: Window, now: float, *, refused: bool) -> None:
        """What follows from an answer."""
        if self._trial is not None:
            self._judge(self._trial, window, now)
        elif refused and window.is_alarming(self._expected, limited=self.rate is not None):
            if window.refusals < window.answers:  # else a long row is due instead
                self._slow_down(window, now)
        elif window.is_over(now, self._expected):
            self._expect_at_most(window.share)
            self._window = None

    def _judge(self, trial: RateTrial, window: Window, now: float) -> None:
        verdict = trial.verdict(window, self._expected, self.rate or math.inf, now)
        if verdict is Verdict.RANDOM:
            self._expected = trial.pooled(window)
            self.rate, self._right = trial.undo, math.inf
        elif verdict is not None and verdict is not Verdict.UNCLEAR:
            self._expect_at_most(window.share)
        if verdict is Verdict.LIMIT or verdict is Verdict.RANDOM:
            self._trial = self._window = None
        elif verdict is not None:
            if verdict is Verdict.LOWER:
                self._trial = None  # what it is compared with, and goes back to, is this rate
            self._slow_down(window, now)

    def _expect_at_most(self, share: float) -> None:
        """What is refused at a rate that the server can take comes at random; less than was thought, maybe."""
        self._expected = min(self._expected, (self._expected + share) / 2)

    def _slow_down(self, window: Window, now: float) -> None:
        """Go down to what the server seems to take; where it takes anything, that is a trial."""
        before, takes_nothing = self.rate, window.share == 1
        limited, rate = before is not None, self._depth * window.goodput(now)
        named = not limited and 2 * window.timed > window.refusals  # the server says that there is a limit
        if before is not None:
            rate = min(DEPTH * before, rate)
            self._find(before, rate, now, takes_nothing=takes_nothing)
            rate = min(rate, self._right)
        elif not named:
            rate = max(FIRST_DEPTH * rate, min(rate, CHEAP))
        if not takes_nothing and not named:
            undo = before if self._trial is None else self._trial.undo
            self._trial = RateTrial.after(window, self._expected, window.is_known(now, limited=limited), undo)
        self._change(max(SLOWEST, rate), now)
        self._window = None if takes_nothing else Window(now)

    @property
    def _depth(self) -> float:
        return DEPTH / (1 - self._expected)

    def _find(self, before: float, rate: float, now: float, *, takes_nothing: bool) -> None:
        """What rate is right, after `before` was too much."""
        recent = self._recent.goodput(now)
        if recent is not None:
            known, self._right = self._right, min(DEPTH * before, max(rate, self._depth * recent))
            if takes_nothing and known < math.inf:
                self._patience = min(LONGEST_PATIENCE, 2 * self._patience)
        elif self._recent.taken:
            self._right = min(DEPTH * before, self._right)

    def _obey(self, quota: float, wait: float, now: float) -> None:
        """The server names its quota, and when there is some of it again: nothing has to be found out."""
        self._quota = self._right = quota
        self._trial = self._window = None
        self._change(DEPTH * quota, now)
        self._next = now + min(self._longest, wait)

    def _change(self, rate: float, now: float) -> None:
        self.rate, self._next, self._alarmed = rate, now + 1 / rate, now
        self._row, self._recent = Window(now), _Recent(now)
        self.epoch += 1

    def _grow(self, rate: float, now: float) -> None:
        calm, right = now - self._alarmed, self._right
        if calm > (QUIET if self._quota == math.inf else QUOTA_LASTS):
            self.rate, self._quota = None, math.inf
            self._right, self._patience = math.inf, PATIENCE
        elif rate < right:
            first = FIRST_RATE if right == math.inf else max(FIRST_RATE, RETURN * right)
            self.rate = min(max(first, rate + QUICK), self._quota)
        elif rate > BEYOND * right:
            self.rate, self._patience = min(rate + QUICK, self._quota), PATIENCE
        else:
            self.rate = min(rate + min(QUICK, SLOW * 2 ** (calm / self._patience)), self._quota)
