"""What refusals say: is there a limit on the rate, or do they come at random? Pure; `Throttle` asks, and acts on it.

A refusal (429 or 503) may mean "too fast", or nothing that a lower rate would change: one bad backend of five. Only
a trial tells the two apart: at a lower rate a limit refuses fewer, chance refuses the same share.
"""

import math
from enum import Enum, auto

from attrs import define, frozen

MARGIN, ERRORS = 0.03, 3
"""By how much the share of refusals may exceed the expected one, beside so many standard errors."""

FEW, SOME, ENOUGH = 3, 10, 30
"""Refusals that an alarm takes where the rate is limited already, and where it is not; answers that make a share
known."""

ROW, CHANCE = 10, 1e-6
"""Refusals without a success between them that mean that nothing is taken; more, where so many come at random with a
greater chance."""

MOST_AT_RANDOM = 0.6
"""The largest share that is believed to come at random; a server that refuses more is limited, or down."""

BRIEF, SECOND, LONG = 0.2, 1.0, 4.0
"""Seconds: a window under 0.2 may be that of a burst; over one a limit counts; the longest that a window takes."""

APART = 4
"""How many standard errors lie between what chance and what a limit would refuse, where a trial is long enough."""


@define
class Window:
    """Answers since a refusal, or since the rate changed.

    It begins where a bucket is empty, so that what succeeds in it is what the server takes, without any burst.

    Attributes:
        since: the moment, in seconds.
    """

    since: float
    answers: int = 0
    refusals: int = 0

    def count(self, *, refused: bool) -> None:
        self.answers += 1
        self.refusals += refused

    @property
    def share(self) -> float:
        """Of all answers, those that were refusals."""
        return self.refusals / self.answers

    def rate(self, now: float) -> float:
        """Answers a second."""
        return self.answers / max(1e-3, now - self.since)

    def exceeds(self, expected: float, errors: float) -> bool:
        """Whether more is refused than expected, and not by chance."""
        error = math.sqrt(max(expected, MARGIN) * (1 - expected) / self.answers)
        return self.share > expected + MARGIN + errors * error

    def is_alarming(self, expected: float, *, limited: bool) -> bool:
        """Whether the rate should be lowered; a false alarm costs less where it is limited already."""
        refusals, answers = (FEW, FEW) if limited else (SOME, ENOUGH)
        return self.refusals >= refusals and self.answers >= answers and self.exceeds(expected, ERRORS)

    def is_known(self, now: float) -> bool:
        """Whether its share is what chance would refuse again, if these refusals came at random."""
        length = now - self.since
        return length >= LONG or (self.answers >= ENOUGH and length >= BRIEF)

    def is_over(self, now: float, expected: float) -> bool:
        """Whether it can end without an alarm; one that may become alarming lasts longer."""
        length = now - self.since
        usual = self.share <= expected + MARGIN
        return length >= LONG or (usual and self.answers >= ENOUGH and length >= SECOND)


class Verdict(Enum):
    """What a trial showed."""

    LIMIT = auto()
    """A limit, and the lower rate meets it."""
    LOWER = auto()
    """Still too many are refused, and only a still lower rate can tell why."""
    RANDOM = auto()
    """The refusals have nothing to do with the rate."""


@frozen
class RateTrial:
    """A lower rate, to see what it changes.

    Attributes:
        before: the window that led to it.
        known: whether the share of that window is known.
        enough: answers after which it can be judged.
        undo: the rate to go back to where it does not help, of the first trial in a row of them; None: unlimited.
    """

    before: Window
    known: bool
    enough: float
    undo: float | None

    @classmethod
    def after(cls, before: Window, now: float, expected: float, undo: float | None) -> "RateTrial":
        """The trial that an alarm leads to."""
        share = before.share
        apart = max(MARGIN, share - expected)
        enough = max(ENOUGH, APART**2 * share * (1 - share) / apart**2)
        return cls(before, before.is_known(now), enough, undo)

    def verdict(self, window: Window, expected: float, now: float) -> Verdict | None:
        """What `window`, at the lower rate, shows; None: too few answers yet."""
        if window.refusals == window.answers:
            return None
        errors = self._errors(window)
        enough = SOME if errors < -ERRORS or now - window.since > LONG else self.enough
        if window.answers < enough:
            return None
        if not window.exceeds(expected, ERRORS - 1):
            return Verdict.LIMIT
        alike = abs(errors) <= ERRORS and self.pooled(window) <= MOST_AT_RANDOM
        return Verdict.RANDOM if self.known and alike else Verdict.LOWER

    def pooled(self, window: Window) -> float:
        """The share of refusals before and during the trial."""
        return (self.before.refusals + window.refusals) / (self.before.answers + window.answers)

    def _errors(self, window: Window) -> float:
        """By how many standard errors the share is above that from before."""
        pooled = self.pooled(window)
        variance = pooled * (1 - pooled) * (1 / self.before.answers + 1 / window.answers)
        return (window.share - self.before.share) / math.sqrt(variance)


def long_row(expected: float) -> float:
    """How many refusals without a success between them mean that the server takes nothing at the moment."""
    return max(ROW, math.log(CHANCE) / math.log(max(expected, MARGIN)))
