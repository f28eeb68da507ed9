"""Interprets refusals: is the rate limited, or do they come at random? Pure; `Throttle` acts on the result.

A refusal (429 or 503) may mean "too fast", or nothing that a lower rate would change: one bad backend of five. Only
a trial distinguishes them: at a lower rate a limit refuses fewer, chance refuses the same share.
"""

import math
from enum import Enum, auto

from attrs import define, frozen

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


@define
class Window:
    """Answers since a refusal, or since the rate changed.

    It begins with an empty bucket, so that its successes show the server's rate without any burst.

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
    """The result of a trial."""

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
            return Verdict.LIMIT
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
