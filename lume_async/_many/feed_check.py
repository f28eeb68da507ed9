"""`FeedCheck`: whether the change feed reports what happens, by sampling. Pure: the time is an argument."""

import math

SAMPLING = 10.0
"""Seconds between two samples: a feed that stays silent though runs end is noticed within three of them."""

RUNS_PER_SAMPLE = 100
"""Of so many runs one is polled in each sample."""

GRACE = 6.0
"""Seconds by which the feed may report an end later than a poll shows it."""

DISTRUST = 300.0
"""Seconds until a feed that did not report an end is trusted again."""


class FeedCheck:
    """Compares the ends that polls have shown with those that the feed reports."""

    def __init__(self) -> None:
        self._unreported: dict[str, float] = {}  # ends that a poll has shown, and when
        self._distrusted_until = -math.inf

    @staticmethod
    def sample_size(watched: int) -> int:
        """How many runs are polled in one sample."""
        return math.ceil(watched / RUNS_PER_SAMPLE)

    def seen(self, run_id: str, now: float) -> None:
        """A poll has shown an end that the feed had not reported."""
        self._unreported[run_id] = now

    def reported(self, run_id: str) -> None:
        """The feed reports a change of the run."""
        self._unreported.pop(run_id, None)

    def reset(self) -> None:
        """What was unreported so far says nothing: the feed was away."""
        self._unreported.clear()

    def is_trusted(self, now: float) -> bool:
        """Whether every end that polls have shown was reported, if the feed had the time for it."""
        if any(now - seen > GRACE for seen in self._unreported.values()):
            self._unreported.clear()
            self._distrusted_until = now + DISTRUST
        return now >= self._distrusted_until
