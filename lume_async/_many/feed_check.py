"""`FeedCheck`: checks by sampling whether the change feed is complete. Pure: the time is an argument."""

import math

SAMPLING = 10.0
"""Seconds between two samples; a feed that misses ends is detected within three of them."""

RUNS_PER_SAMPLE = 100
"""The number of runs of which each sample polls one."""

GRACE = 6.0
"""Seconds that the feed may report an end later than a poll."""

DISTRUST = 300.0
"""Seconds until a feed that did not report an end is trusted again."""


class FeedCheck:
    """Compares the ends shown by polls with the ends reported by the feed."""

    def __init__(self) -> None:
        self._unreported: dict[str, float] = {}  # ends shown only by a poll, with their times
        self._distrusted_until = -math.inf

    @staticmethod
    def sample_size(watched: int) -> int:
        """Return the number of runs to poll in one sample."""
        return math.ceil(watched / RUNS_PER_SAMPLE)

    def note_polled_end(self, run_id: str, now: float) -> None:
        """Note an end that a poll has shown and the feed has not reported yet."""
        self._unreported[run_id] = now

    def note_report(self, run_id: str) -> None:
        """Note that the feed has reported the end of the run."""
        self._unreported.pop(run_id, None)

    def reset(self) -> None:
        """Forget unreported ends, because the feed was interrupted."""
        self._unreported.clear()

    def is_trusted(self, now: float) -> bool:
        """Return whether the feed has reported, within `GRACE`, every end that polls have shown."""
        if any(now - seen > GRACE for seen in self._unreported.values()):
            self._unreported.clear()
            self._distrusted_until = now + DISTRUST
        return now >= self._distrusted_until
