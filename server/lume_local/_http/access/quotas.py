"""How often something may be done in a minute: submissions of a key, sign-ins of an address. Pure."""

import math
import time
from collections.abc import Callable

MINUTE = 60.0
Share = tuple[str, int]
"""Whose it is, and how often it may be used in a minute."""


class Quotas:
    """A bucket for each name: so many uses at once, and again as many over a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        """By name: the uses that were left, and when. The oldest come first: after a minute, all are left."""

    def wait(self, *shares: Share) -> int:
        """0 if all of them have a use left, which is then counted; else the seconds until they have."""
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
        """A use that was counted does not count after all."""
        for name, _ in shares:
            if name in self._left:
                left, at = self._left[name]
                self._left[name] = left + 1, at
