"""Slows down guessing: answers to wrong keys are delayed and limited per second. Right keys are not affected.

All clients share the limit: behind a proxy they have one address, and an attacker may have many.
"""

import time
from collections.abc import Callable

AT_ONCE = 20
"""The number of wrong keys answered without delay, so that a misconfigured client soon gets its error."""
PER_SECOND = 5.0
LONGEST = 5.0
"""The longest delay of an answer, in seconds; requests that would wait longer are refused at once."""


class WrongKeys:
    """The schedule of a server's answers to wrong keys.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free = clock() - AT_ONCE / PER_SECOND
        """The time at which the next answer is due."""

    def delay(self) -> float | None:
        """Return the seconds after which one more may be answered; None if too many wait already."""
        now = self._clock()
        due = max(self._free, now - AT_ONCE / PER_SECOND) + 1 / PER_SECOND
        if due - now > LONGEST:
            return None
        self._free = due
        return max(due - now, 0.0)
