"""How many runs each entry of `keys.toml` may submit in a minute. Pure: the time is an argument."""

import math
import time
from collections.abc import Callable

MINUTE = 60.0


class Quotas:
    """A bucket for each entry: so many submissions at once, and again as many over a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        """By entry: the submissions that were left, and when."""

    def wait(self, entry: str, a_minute: int) -> int:
        """0 if one more submission is allowed, which is then counted; else the seconds until it is."""
        now = self._clock()
        left, at = self._left.get(entry, (float(a_minute), now))
        left = min(a_minute, left + (now - at) * a_minute / MINUTE)
        allowed = left >= 1
        self._left[entry] = left - allowed, now
        return 0 if allowed else math.ceil((1 - left) * MINUTE / a_minute)
