"""Rate limits: submissions of a key and sign-ins of an address per minute, answers to wrong keys per second. Pure."""

import math
import time
from collections.abc import Callable

MINUTE = 60.0
Share = tuple[str, int]
"""The name of a bucket, and how many uses it allows in a minute."""


class Quotas:
    """A token bucket for each name: a minute's uses are available at once, and are refilled over a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        """The uses left in each bucket, and when; oldest first: a bucket is full again after a minute."""

    def wait(self, *shares: Share) -> int:
        """Count a use of each share and return 0; if one has none left, only return the seconds to wait."""
        now = self._clock()
        while self._left and now - next(iter(self._left.values()))[1] >= MINUTE:
            del self._left[next(iter(self._left))]
        left, seconds = dict[str, tuple[float, float]](), 0
        for name, most in shares:
            had, at = self._left.get(name, (float(most), now))
            has = min(most, had + (now - at) * most / MINUTE)
            left[name] = has - 1, now
            if has < 1:
                seconds = max(seconds, math.ceil((1 - has) * MINUTE / most))
        if not seconds:
            for name, rest in left.items():
                self._left.pop(name, None)
                self._left[name] = rest
        return seconds

    def give_back(self, *shares: Share) -> None:
        """Take back a use that was counted."""
        for name, _ in shares:
            if name in self._left:
                left, at = self._left[name]
                self._left[name] = left + 1, at


AT_ONCE = 20
"""The number of wrong keys answered without delay, so that a misconfigured client soon gets its error."""
PER_SECOND = 5.0
LONGEST = 5.0
"""The longest delay of an answer, in seconds; requests that would wait longer are refused at once."""


class WrongKeys:
    """Slows down guessing: answers to wrong keys are delayed and limited. Right keys are not affected.

    All clients share the limit: behind a proxy they have one address, and an attacker may have many.
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
