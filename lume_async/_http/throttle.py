"""`Throttle`: how fast one client may send, learnt from what the server refuses. Pure: the time is an argument.

A refusal (429 or 503) may mean "too fast", or nothing that a lower rate would change: one bad backend of five.
Only an experiment tells the two apart, so a lower rate is a trial, kept only where it brought fewer refusals.
The reasons and the figures: docs/design/throttle.md.
"""

import math

from attrs import define, frozen

ROW = 10
"""Refusals in a row after which all requests pause: the server takes nothing at all."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds of that pause where the server names none: doubled for each that brought no success."""

FIRST_RATE = 10.0
"""Requests a second after a pause, where nothing faster was seen to work; up to here a rate always grows quickly, as
little traffic tells little of a limit."""

QUIET = 60.0
"""Seconds without an alarm after which the rate is unlimited again."""

CHANCE = 1e-6
"""How unlikely a row of refusals must be among those that come at random, before all requests pause for it."""

SECOND, ENOUGH, FEW, LONG, TOO_LONG = 1.0, 30, 10, 5.0, 15.0
"""A window ends after a second and 30 answers, or after 5 seconds and 10 answers; one of 15 seconds says nothing."""

MOST = 0.9
"""What share of refusals is expected at the most."""

EARLY, EARLY_IF_PACED = 30, 8
"""Refusals from which an alarm need not wait for the end of its window; fewer where the rate is known to matter."""

MARGIN = 0.02
"""By how much the share of refusals may exceed the expected one, beside what chance can explain."""

ERRORS, ERRORS_IF_PACED, ERRORS_IF_EARLY = 3, 2, 4
"""How many standard errors chance explains. A false alarm costs little where the rate is limited already."""

TRIAL, KEPT = 0.7, 0.9
"""What share of the server's capacity a first trial uses, and what share a rate that was found to help."""

SETTLING = 0.3
"""Seconds after a change of the rate in which answers still tell of the old one."""

FORGETTING = 0.2
"""How far the expected share of refusals follows a smaller one, per window."""

QUICK_GROWTH, SLOW_GROWTH, PATIENCE = 0.2, 0.02, 15.0
"""By how much a success raises the rate: 0.2 doubles it in 3.5 seconds, 0.02 adds 2 % a second. The slow one
becomes quicker the longer there is no alarm, as in CUBIC (RFC 9438): the limit may be gone."""


@define
class _Window:
    """Answers since a moment; those before it are of an older rate."""

    since: float
    answers: int = 0
    refusals: int = 0

    def is_over(self, now: float) -> bool:
        length = now - self.since
        return (self.answers >= ENOUGH and length >= SECOND) or (self.answers >= FEW and length >= LONG)

    @property
    def share(self) -> float:
        return self.refusals / self.answers

    def goodput(self, now: float) -> float:
        """Successes a second; over a whole second at least, as a burst says nothing about the next one."""
        return (self.answers - self.refusals) / max(SECOND, now - self.since)


@frozen
class _Trial:
    """An experiment with a slower rate.

    Attributes:
        share: the share of refusals that led to it, and will not change if they come at random.
        limited: the share that it should bring down to if a limit on the rate is the cause.
        capacity: requests a second that the server seems to take.
        rate: the rate before it; None: unlimited.
    """

    share: float
    limited: float
    capacity: float
    rate: float | None


class Throttle:
    """When the next request may be sent.

    Args:
        longest: seconds that a pause takes at the most, whatever the server asks for.
    """

    def __init__(self, longest: float = LONGEST_PAUSE) -> None:
        self.epoch = 0
        """Counts the changes of the rate; a refusal belongs to the epoch in which its request was sent."""
        self.rate: float | None = None
        """Requests a second; None: unlimited, as almost always."""
        self._longest = longest
        self._paused_until = self._next = -math.inf
        self._expected = 0.0  # the share of refusals that no slower rate would change
        self._trial: _Trial | None = None
        self._window = _Window(-math.inf)
        self._goodput: float | None = None  # the best that was seen lately
        self._quick_below = math.inf  # up to here the rate grows quickly
        self._alarmed = -math.inf
        self._row = self._pauses = 0

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        return 0.0 if self.rate is None else self.opens_at - now

    @property
    def opens_at(self) -> float:
        """When the next request may be sent, where the rate is limited."""
        return -math.inf if self.rate is None else max(self._paused_until, self._next)

    def take(self, now: float) -> None:
        """A request is sent now."""
        rate = self.rate
        if rate is not None:
            self._next = max(now, self._next) + 1 / rate

    def succeeded(self, now: float) -> None:
        """The server took a request."""
        self._row = self._pauses = 0
        rate, window = self.rate, self._window
        if rate is None and self._trial is None and not window.refusals and 0 <= now - window.since < SECOND:
            window.answers += 1  # almost always: nothing can follow from it
            return
        if rate is not None and self._trial is None:
            self._grow(rate, now)
        self._count(now, refused=False)

    def refused(self, now: float, epoch: int, retry_after: float | None) -> None:
        """The server said 429 or 503 to a request that was sent in `epoch`.

        `retry_after` binds that request alone, and whoever sent it sees to that; here it only lasts a pause of all.
        """
        if epoch != self.epoch:
            return  # the rate has changed since
        self._row += 1
        if self._row >= self._long_row():
            self._pause(now, retry_after)
        else:
            self._count(now, refused=True)

    def _long_row(self) -> int:
        """Where 40 % are refused at random, ten in a row come every few thousand requests."""
        expected = self._expected
        return ROW if expected <= 0 else max(ROW, math.ceil(math.log(CHANCE) / math.log(expected)))

    def _pause(self, now: float, retry_after: float | None) -> None:
        """All requests pause, then begin anew at half of what was seen to work."""
        window = self._window
        if self._pauses == 0 and window.answers - window.refusals >= ENOUGH:
            self._goodput = max(self._goodput or 0.0, window.goodput(now))
        usual = FIRST_PAUSE * 2 ** min(self._pauses, 10)
        pause = min(self._longest, min(LONGEST_PAUSE, usual) if retry_after is None else retry_after)
        self._pauses += 1
        self._quick_below = math.inf if self._goodput is None else KEPT * self._goodput
        self._trial = None
        self._paused_until = self._alarmed = now + pause
        self._change(max(FIRST_RATE, (self._goodput or 0.0) / 2), now + pause)

    def _change(self, rate: float, measured_from: float) -> None:
        self.rate = max(1.0, rate)
        self.epoch += 1
        self._row = 0
        self._window = _Window(measured_from)

    def _grow(self, rate: float, now: float) -> None:
        calm = now - self._alarmed
        if calm > QUIET:
            self.rate = None
        elif rate < max(FIRST_RATE, self._quick_below):
            self.rate = rate + QUICK_GROWTH
        else:
            self.rate = rate + min(QUICK_GROWTH, SLOW_GROWTH * max(1.0, (calm / PATIENCE) ** 2))

    def _count(self, now: float, *, refused: bool) -> None:
        window = self._window
        if now < window.since:
            return
        if now - window.since > TOO_LONG:
            window = self._window = _Window(now)
        window.answers += 1
        window.refusals += refused
        over, trial = window.is_over(now), self._trial
        if trial is not None:
            if over or window.refusals >= EARLY:
                self._conclude(trial, window.share, now)
        elif self._is_alarming(window, over):
            self._experiment(window, now)
        elif over:
            self._goodput = max(window.goodput(now), KEPT * (self._goodput or 0.0))
            self._expected -= FORGETTING * max(0.0, self._expected - window.share)
            self._window = _Window(now)

    def _is_alarming(self, window: _Window, over: bool) -> bool:
        """Whether more is refused than expected, and not by chance. Where all is refused, a pause is due instead."""
        if window.refusals == window.answers:
            return False
        paced, expected = self.rate is not None, self._expected
        early = EARLY if not paced else EARLY_IF_PACED if expected < MARGIN else FEW * 2
        if not over and window.refusals < early:
            return False
        error = math.sqrt(max(expected, MARGIN) * (1 - expected) / window.answers)
        errors = ERRORS_IF_EARLY if not over else ERRORS_IF_PACED if paced else ERRORS
        return window.share > expected + MARGIN + errors * error

    def _experiment(self, window: _Window, now: float) -> None:
        """Begin a trial: deep where the rate was unlimited, shallow where it is known to matter."""
        taken, before = 1 - self._expected, self.rate
        self._alarmed = now
        if before is None:
            capacity = window.goodput(now) / taken
            rate, limited = TRIAL * capacity, self._expected
        else:
            capacity = before * min(1.0, (1 - window.share) / taken)
            if now - window.since >= SECOND / 2:
                capacity = min(capacity, (window.answers - window.refusals) / (now - window.since) / taken)
            if self._expected > MARGIN:  # then a few answers say little, and must not cost much
                capacity = max(capacity, before * TRIAL / KEPT)
            rate = KEPT * capacity
            limited = max(self._expected, 1 - (1 - window.share) * before / rate)
            self._goodput = self._goodput and rate
        self._trial = _Trial(window.share, limited, capacity, before)
        self._change(rate, now + SETTLING)

    def _conclude(self, trial: _Trial, share: float, now: float) -> None:
        """End a trial: its rate is kept where it helped; else the refusals have nothing to do with it."""
        expected, self._trial, self._window = self._expected, None, _Window(now)
        if share <= max(expected + MARGIN, (trial.share + trial.limited) / 2):  # nearer to what a limit does
            if share < expected:
                self._expected = (expected + share) / 2
            elif share <= trial.share / 4:
                self._expected = share  # what is refused at a rate that the server can take comes at random
            self.rate = self._quick_below = max(self.rate or 0.0, KEPT * trial.capacity)
        elif trial.rate is None or self._goodput is None:  # unlimited, or lower without much evidence
            self._expected = min(MOST, max(share, (share + trial.share) / 2))
            self.rate = None
        else:
            self._expected = min(MOST, share)
            self.rate = trial.rate
