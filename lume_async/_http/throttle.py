"""`Throttle`: limits how fast one client may send, learning from refusals. Pure: the time is an argument.

A refusal (429 or 503) may mean "too fast", or nothing that a lower rate would change: one bad backend of five. Only
a trial distinguishes them: at a lower rate a limit refuses fewer, chance refuses the same share. The reasons and the
figures are in docs/design/throttle.md.
"""

import math
from enum import Enum, auto

from attrs import define, frozen

from lume_async._wire.answers import Refusal

MARGIN, ERRORS = 0.03, 3
"""The tolerated excess of the share of refusals over the expected share, plus this many standard errors."""

FEW, SOME, ENOUGH = 3, 10, 30
"""Refusals needed for an alarm at a limited rate and at an unlimited one; answers needed to know a share."""

ROW, CHANCE = 10, 1e-6
"""The number of refusals in a row that means an outage; more are needed if that number may come at random with a
greater probability than the second."""

MOST_AT_RANDOM = 0.6
"""The largest share that can be random; a server that refuses more is limited, or down."""

BRIEF, SECOND, LONG = 0.2, 1.0, 4.0
"""Seconds: a shorter window may be a burst; the period over which a limit counts; the longest window."""

APART = 4
"""The standard errors between the refusals of chance and of a limit that make a trial long enough."""

SLOWEST, FIRST_RATE = 1.0, 10.0
"""Requests a second: the minimum, and the rate after an outage if nothing better is known. It doubles in half a
second; 30 a second lost a dozen requests to each low limit."""
PROBES = 0.5
"""The pause between two requests during an outage, as a multiple of the square root of its duration so far. It makes
22 requests in half a minute, and the end of such an outage is noticed within 2.8 seconds."""
LONGEST_PAUSE = 30.0
"""The default maximum of such a pause in seconds, whatever the server asks for."""
DEPTH, TRIAL_DEPTH, FIRST_DEPTH = 0.9, 0.5, 0.25
"""A lowered rate as a share of the rate that the server takes; of the previous rate, after a trial without a result;
and after an unlimited rate, as a burst may have been part of the successes."""
QUICK, SLOW, STEEP, MOST = 1.5, 0.001, 4, 4
"""The increase of the rate per success, in requests a second: 1.5 (the rate doubles in half a second) up to the last
rate that was found to be right, then 0.001, times 4 with each second without an alarm, at most 4: as asking for more
costs a refusal, the first 10 % take nearly four seconds; a limit that has risen a hundredfold is used after 6.5."""
SAVED = 2
"""The largest factor by which the saved burst of a bucket makes its rate seem higher."""
QUIET, QUOTA_LASTS = 12.0, 60.0
"""Seconds without an alarm after which the rate is unlimited again; the second value is for a named quota."""


@define
class Window:
    """Answers since a refusal, or since the rate changed.

    It begins with an empty bucket, so that its successes show the server's rate without any burst.
    """

    since: float
    answers: int = 0
    refusals: int = 0

    def count(self, *, refused: bool) -> None:
        self.answers += 1
        self.refusals += refused

    @property
    def share(self) -> float:
        """The share of refusals among all answers."""
        return self.refusals / self.answers

    def rate(self, now: float) -> float:
        """Return the answers a second."""
        return self.answers / max(1e-3, now - self.since)

    def exceeds(self, expected: float, errors: float) -> bool:
        """Return whether significantly more is refused than expected."""
        error = math.sqrt(max(expected, MARGIN) * (1 - expected) / self.answers)
        return self.share > expected + MARGIN + errors * error

    def is_alarming(self, expected: float, *, limited: bool) -> bool:
        """Return whether the rate should be lowered; a false alarm costs less if it is limited already."""
        refusals, answers = (FEW, FEW) if limited else (SOME, ENOUGH)
        if self.refusals >= refusals and self.exceeds(MOST_AT_RANDOM, ERRORS - 1):
            return True  # more than can be random: 11 of 12
        return self.refusals >= refusals and self.answers >= answers and self.exceeds(expected, ERRORS)

    def is_known(self, now: float) -> bool:
        """Return whether its share would recur if these refusals were random."""
        length = now - self.since
        return length >= LONG or (self.answers >= ENOUGH and length >= BRIEF)

    def is_over(self, now: float, expected: float) -> bool:
        """Return whether it can end without an alarm; a window that may become alarming lasts longer."""
        length = now - self.since
        usual = self.share <= expected + MARGIN
        return length >= LONG or (usual and self.answers >= ENOUGH and length >= SECOND)


class Verdict(Enum):
    LIMIT = auto()
    """A limit, and the lower rate meets it."""
    LOWER = auto()
    """Still too many are refused, and only an even lower rate can show why."""
    RANDOM = auto()
    """The refusals have nothing to do with the rate."""


@frozen
class RateTrial:
    """A period at a lower rate, to see its effect.

    Attributes:
        before: the window that led to it.
        known: whether the share of that window is known.
        enough: answers after which it can be judged.
        undo: the rate to restore if it does not help, from the first trial in a row; None: unlimited.
    """

    before: Window
    known: bool
    enough: float
    undo: float | None

    @classmethod
    def after(cls, before: Window, now: float, expected: float, undo: float | None) -> "RateTrial":
        """Return the trial that an alarm leads to."""
        share = before.share
        apart = max(MARGIN, share - expected)
        enough = max(ENOUGH, APART**2 * share * (1 - share) / apart**2)
        return cls(before, before.is_known(now), enough, undo)

    def verdict(self, window: Window, expected: float, now: float) -> Verdict | None:
        """Judge `window`, measured at the lower rate; None: too few answers yet."""
        if window.refusals == window.answers:
            return None
        errors = self._errors(window)
        enough = SOME if errors < -ERRORS or now - window.since > LONG else self.enough
        if window.answers < enough:
            return None
        if not window.exceeds(expected, ERRORS - 1):
            return Verdict.LIMIT if now - window.since >= BRIEF else None
        alike = abs(errors) <= ERRORS and self.pooled(window) <= MOST_AT_RANDOM
        return Verdict.RANDOM if self.known and alike else Verdict.LOWER

    def pooled(self, window: Window) -> float:
        """Return the share of refusals before and during the trial."""
        return (self.before.refusals + window.refusals) / (self.before.answers + window.answers)

    def _errors(self, window: Window) -> float:
        """Return by how many standard errors the share exceeds the previous one."""
        pooled = self.pooled(window)
        variance = pooled * (1 - pooled) * (1 / self.before.answers + 1 / window.answers)
        return (window.share - self.before.share) / math.sqrt(variance)


def long_row(expected: float) -> float:
    """Return the number of refusals in a row that means an outage."""
    return max(ROW, math.log(CHANCE) / math.log(max(expected, MARGIN)))


@define
class _Recent:
    """Successes of about the last second."""

    since: float = 0.0
    taken: float = 0.0

    def count(self, now: float) -> None:
        if now - self.since > SECOND:
            self.since, self.taken = (self.since + now) / 2, self.taken / 2
        self.taken += 1

    def goodput(self, now: float) -> float:
        """Return the successes a second; 0 if the time is too short to say."""
        length = now - self.since
        return self.taken / length if length >= SECOND / 2 else 0.0


class Throttle:
    """Decides when the next request may be sent; no pause of all requests is longer than `longest` seconds."""

    def __init__(self, longest: float = LONGEST_PAUSE) -> None:
        self.epoch = 0
        """Counts the cuts of the rate; an answer belongs to the epoch in which its request was sent."""
        self.rate: float | None = None
        """Requests a second; None: unlimited, as almost always."""
        self._longest = longest
        self._next = self._alarmed = -math.inf
        self._closed_since: float | None = None  # while requests are only probes
        self._expected = 0.0  # the share of refusals that no lower rate would change
        self._window: Window | None = None
        self._trial: RateTrial | None = None
        self._row = Window(0.0)  # refusals without a success between them
        self._recent = _Recent()
        self._right = math.inf  # the last rate that was found to be right; infinite: none was
        self._quota = math.inf  # the server's own figure
        self._stepped_back = False  # at the last alarm

    def delay(self, now: float) -> float:
        """Return the seconds until the next request may be sent."""
        return 0.0 if self.rate is None else self._next - now

    @property
    def opens_at(self) -> float:
        """When the next request may be sent, if the rate is limited."""
        return -math.inf if self.rate is None else self._next

    def take(self, now: float) -> None:
        """Count a request that is sent now."""
        if self.rate is not None:
            if self._closed_since is not None and now - self._alarmed > LONG:
                self._open(self.rate, now)  # nothing was refused since: a long poll is answered late
            self._next = max(now, self._next) + 1 / (self.rate if self._closed_since is None else SLOWEST)

    def succeeded(self, now: float, epoch: int) -> None:
        """Count a success of a request that was sent in `epoch`."""
        rate = self.rate
        if (rate is None and self._window is None) or epoch != self.epoch:
            return  # almost always: nothing can follow from it
        self._row.answers = self._row.refusals = 0
        if rate is not None:
            if self._closed_since is not None:
                self._open(rate, now)
            self._recent.count(now)
            if self._trial is None:
                self._grow(rate, now)
        window = self._window
        if window is not None:
            window.count(refused=False)
            self._look(window, now, refused=False)

    def refused(self, now: float, epoch: int, refusal: Refusal) -> None:
        """Count a 429 or 503 for a request that was sent in `epoch`."""
        if epoch != self.epoch:
            return  # the rate has changed since
        row, window = self._row, self._window
        is_first = row.since <= self._alarmed
        if not row.refusals:
            row.since = now
        row.count(refused=True)
        if refusal.rate is not None and (self.rate or math.inf) > max(SLOWEST, refusal.rate):
            self._obey(max(SLOWEST, refusal.rate), refusal.wait or 0.0, now)
        elif self._closed_since is not None:
            self._probe_later(self._closed_since, refusal.wait, now)
        elif row.refusals >= long_row(self._expected):
            self._close(now)
            self._probe_later(row.since, refusal.wait, now)
        elif window is None:  # a single refusal gives no share
            self._window = Window(now)
            if is_first and self._asked_too_much(now):
                self._step_back(self._window, now)
        else:
            window.count(refused=True)
            self._look(window, now, refused=True)

    def _look(self, window: Window, now: float, *, refused: bool) -> None:
        if self._trial is not None:
            self._judge(self._trial, window, now)
        elif refused and window.is_alarming(self._expected, limited=self.rate is not None):
            self._stepped_back = False
            self._try_lower(window, now)
        elif window.is_over(now, self._expected):
            self._expect_at_most(window.share)
            self._window = None

    def _judge(self, trial: RateTrial, window: Window, now: float) -> None:
        verdict = trial.verdict(window, self._expected, now)
        if verdict is Verdict.LOWER:
            self._try_lower(window, now)
        elif verdict is not None:
            self._trial = self._window = None
            if verdict is Verdict.LIMIT:
                self._expect_at_most(window.share)
            else:
                self._expected = trial.pooled(window)
                self.rate, self._right = trial.undo, math.inf

    def _expect_at_most(self, share: float) -> None:
        """Lower the expected share of random refusals: none has another cause at this rate."""
        self._expected = min(self._expected, (self._expected + share) / 2)

    def _try_lower(self, window: Window, now: float) -> None:
        """Start a trial of the rate that the server seems to take."""
        before, trial = self.rate, self._trial
        rate = self._takes(window.rate(now) * (1 - window.share))
        if before is None:
            rate = max(FIRST_RATE, FIRST_DEPTH * rate)
        else:
            self._find(before, rate, now)
            rate = self._right if trial is None else min(rate, TRIAL_DEPTH * before, self._right)
        self._trial = RateTrial.after(window, now, self._expected, before if trial is None else trial.undo)
        self._change(rate, now)
        self._closed_since = now
        # Limits count the requests of a second: nothing is sent until the excess has expired.
        if before is not None and self.rate is not None:
            self._next = now + min(SECOND / 2, before / self.rate - 1)

    def _asked_too_much(self, now: float) -> bool:
        """Return whether the first refusal since the last change is an alarm: the rate has grown, and chance is rare.

        A second step back needs a longer time without refusals, or 1 % of refusals at random would halve the rate.
        """
        if self.rate is None or self.rate <= self._right or self._expected >= MARGIN:
            return False
        is_calm = now - self._alarmed > LONG
        return self._recent.goodput(now) > 0 and (is_calm or not self._stepped_back)

    def _step_back(self, window: Window, now: float) -> None:
        """Start a trial near the last right rate, or of half the refused one, if that is far higher."""
        self._stepped_back, right, before = True, self._right, self.rate or 0.0
        window.count(refused=True)
        self._try_lower(window, now)
        found = max(self._right, before / SAVED)  # in quick growth less was taken in the last second
        if found < SAVED * right:
            found = min(found, right / DEPTH)
        self.rate = self._right = max(SLOWEST, found)

    def _close(self, now: float) -> None:
        """Send only probes until one succeeds, as the server takes nothing."""
        if self.rate is not None:
            self._find(self.rate, 0.0, now)
        self._trial = None
        self._change(FIRST_RATE if self._right == math.inf else max(FIRST_RATE, self._right), now)

    def _probe_later(self, since: float, wait: float | None, now: float) -> None:
        self._closed_since = since
        pause = PROBES * math.sqrt(now - since) if wait is None else wait
        self._next = self._alarmed = now + min(self._longest, pause)

    def _open(self, rate: float, now: float) -> None:
        """Resume after a successful probe."""
        self._closed_since = None
        self._alarmed, self._next = now, now + 1 / rate
        self._window = None if self._trial is None else Window(now)

    def _takes(self, goodput: float) -> float:
        """Return the rate to use for this number of successes a second."""
        return DEPTH * goodput / (1 - self._expected)

    def _find(self, before: float, rate: float, now: float) -> None:
        """Set the rate that is right, after `before` was too much."""
        recent = self._recent.goodput(now)
        self._right = min(DEPTH * before, max(rate, self._takes(recent)) if recent else self._right)

    def _obey(self, quota: float, wait: float, now: float) -> None:
        """Follow the quota, and the wait for it, that the server names: nothing has to be found out."""
        self._quota, self._right = quota, DEPTH * quota
        self._trial = self._closed_since = None
        self._change(DEPTH * quota, now)
        self._next = self._alarmed = now + min(self._longest, wait)

    def _change(self, rate: float, now: float) -> None:
        self.rate, self._next, self._alarmed = max(SLOWEST, rate), now, now
        self._window, self._recent = None, _Recent(now)
        self.epoch += 1

    def _grow(self, rate: float, now: float) -> None:
        calm = now - self._alarmed
        if self._quota < math.inf and calm > QUOTA_LASTS:
            self._quota, self._alarmed = math.inf, now
        elif self._quota == math.inf and calm > QUIET:
            self.rate, self._right, self._stepped_back = None, math.inf, False
        else:
            more = QUICK if rate < self._right else min(MOST, SLOW * STEEP**calm)
            self.rate = min(rate + more, self._quota)
