"""Slows down guessing: wrong keys are answered late, and few per second. Right keys are not affected.

All clients share the limit: behind a proxy they have one address, and an attacker may have many.
"""

import time
from collections.abc import Callable

AT_ONCE = 20
"""Wrong keys that are answered without delay: a misconfigured client learns soon what is wrong."""
PER_SECOND = 5.0
LONGEST = 5.0
"""Seconds that an answer is delayed at most; what would wait longer is refused at once."""


class WrongKeys:
    """The answers to wrong keys of one server.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._free = clock() - AT_ONCE / PER_SECOND
        """When the next answer is due."""

    def delay(self) -> float | None:
        """The seconds after which one more may be answered; None if too many wait already."""
        now = self._clock()
        due = max(self._free, now - AT_ONCE / PER_SECOND) + 1 / PER_SECOND
        if due - now > LONGEST:
            return None
        self._free = due
        return max(due - now, 0.0)
