"""Delays before the next try. Pure: callers do the sleeping."""

import math
from datetime import timedelta
from typing import Protocol, Self, TypeAlias

from attrs import field, frozen

from lume_async._base import arguments
from lume_async._base.duration import Duration, seconds
from lume_async._base.public import public

LAST_POLL = 1.0
"""Seconds that the last poll of a wait, which starts at the deadline, may take."""


class Rng(Protocol):
    """The part of `random.Random` that jitter needs."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


def _initial(value: Duration) -> float:
    return seconds(value, "initial")


def _maximum(value: Duration) -> float:
    return seconds(value, "maximum")


@public
@frozen
class Backoff:
    """Delays that grow: `initial`, `initial * factor`, … up to `maximum`, each ± `jitter`.

    The jitter is applied after the cap, so that thousands of waits that have reached it do not poll in step.

    Args:
        initial: the first delay, seconds or a `timedelta`.
        factor: the ratio of each delay to the one before; at least 1.
        maximum: the longest delay before jitter, seconds or a `timedelta`.
        jitter: the share by which a delay may be shorter or longer, 0 to 1.

    Examples:
        >>> interval = Backoff(1, factor=1.5, maximum=30)
    """

    initial: float = field(converter=_initial)
    factor: float = field(default=2.0, validator=arguments.validator(arguments.number, 1))
    maximum: float = field(default=60.0, converter=_maximum)
    jitter: float = field(default=0.25, validator=arguments.validator(arguments.number, 0, 1))

    @classmethod
    def constant(cls, interval: Duration) -> Self:
        """Return the same delay every time, without jitter.

        Examples:
            >>> print(Backoff.constant(5).initial)
            5.0
        """
        length = seconds(interval, "interval")
        return cls(length, factor=1.0, maximum=length, jitter=0.0)

    def delay(self, n: int, rng: Rng) -> float:
        """Return the delay after try number `n` (0 is the first), in seconds.

        Examples:
            >>> import random
            >>> backoff = Backoff(1, maximum=30, jitter=0)
            >>> print([backoff.delay(n, random) for n in range(6)])
            [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
        """
        base = self.maximum
        # Unlimited, the power would overflow a float in a long wait.
        if self.initial < self.maximum and n * math.log2(self.factor) < 60:
            base = min(self.maximum, self.initial * self.factor**n)
        if self.initial == 0:
            base = 0.0
        return base * (1 + self.jitter * (2 * rng.random() - 1)) if self.jitter else base


PollInterval: TypeAlias = Duration | Backoff | None
"""How often to poll: None for the library's back-off, a constant interval, or a `Backoff`."""

POLLING = Backoff(0.5, factor=1.5, maximum=5.0)
"""The default: the first poll is at once, the longest interval is 5 s as in the documented SDK."""


def backoff(value: Duration | Backoff, name: str) -> Backoff:
    """Convert an argument: a constant interval or a `Backoff`. Raises `TypeError` or `ValueError`, with its name."""
    if isinstance(value, Backoff):
        return value
    if not isinstance(value, (int, float, timedelta)) or isinstance(value, bool):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a number of seconds, a timedelta or a Backoff, not {kind}")
    return Backoff.constant(seconds(value, name))


def polling(interval: PollInterval) -> Backoff:
    """Return the back-off that `poll_interval` stands for. Raises `TypeError` or `ValueError` as `backoff` does."""
    return POLLING if interval is None else backoff(interval, "poll_interval")


QUICK = Backoff(0.25, maximum=1.0)
"""The delays after failed polls: a failure says nothing about the run, so it must not cost a whole interval."""

OUTAGE = 12
"""The number of failed polls in a row after which the quick delays double, to spare a server that is down."""


def after_failure(usual: float, failures: int, rng: Rng) -> float:
    """Return the seconds until the next poll after failed ones in a row: 0.25, 0.5, 1, 1, …, never above `usual`."""
    quick = QUICK.delay(failures - 1, rng)
    return min(usual, math.ldexp(quick, min(max(0, failures - OUTAGE), 60)))
