"""`Watched`: one run in a monitor, its state, and when to poll it next."""

import math
from collections import OrderedDict

from attrs import define

from lume_async._base import arguments
from lume_async._base.backoff import Backoff, Rng, after_failure
from lume_async._http.sender import Sender
from lume_async._run.handle import LumeRun
from lume_async._wire.endpoints import Change
from lume_async.errors import ApiError
from lume_async.models import RunStatus, check_run_id

SAFETY_NET = 300.0
"""Seconds between polls of a run while the change feed is trusted to report its end."""

SOONEST = 0.2
"""The shortest delay, in seconds, that a run's reported progress leads to."""

EVER = -math.inf
"""A time before all others; one shared object, as each float takes 24 bytes."""


UNWATCHED = 10_000
"""The maximum number of remembered changes of unwatched runs."""


class Unwatched:
    """The last changes of unwatched runs, as one of them may be added a moment later."""

    def __init__(self) -> None:
        # The status (None for an end), and its time.
        self._statuses = OrderedDict[str, tuple[str | None, float]]()
        self._forgotten = EVER  # the time of the newest dropped change

    def note(self, change: Change, now: float) -> None:
        """Note a change that the feed has reported; nothing replaces an end."""
        status = None if change.is_end or self.has_ended(change.id) else change.status
        self._statuses[change.id] = status, now
        self._statuses.move_to_end(change.id)
        if len(self._statuses) > UNWATCHED:
            _, (_, self._forgotten) = self._statuses.popitem(last=False)

    def has_ended(self, run_id: str) -> bool:
        """Return whether the feed has reported the end of the run."""
        status, _ = self._statuses.get(run_id, ("", EVER))
        return status is None

    def is_as_reported(self, run: LumeRun, born_after: float) -> bool:
        """Return whether the feed has certainly reported no status other than the handle's."""
        status, _ = self._statuses.get(run.id, (run.status, EVER))
        return run.status is not None and status == run.status and born_after > self._forgotten


@define(eq=False, weakref_slot=False)
class Watched:
    """A run, the number of its successful polls, and the status of its last event."""

    run: LumeRun
    polls: int = 0
    failures: int = 0  # failed polls in a row
    last_error: ApiError | None = None  # with its frames removed
    stale: int = 0  # polls in a row that do not show the reported end
    ended: bool = False  # reported by the feed
    not_before: float = EVER  # the server asked us not to poll earlier
    polled: float = EVER  # the end of the last poll; infinite during a poll
    born_after: float = EVER  # see `RecentRuns.born_after`
    is_new: bool = False  # not polled yet, and the feed has reported no other status
    shown: RunStatus | None = None
    reported: float | None = None  # the progress at the last poll
    progress: tuple[float, float] | None = None  # the first reported one, with its time

    def next_delay(
        self, backoff: Backoff, rng: Rng, now: float, *, fed: bool, follows_progress: bool
    ) -> float:
        """Return the seconds until the next poll, apart from the delay that the server asked for.

        Args:
            fed: whether the change feed reports the end.
            follows_progress: whether the delay depends on the run's progress.
        """
        if fed:
            soon = backoff.delay(max(0, self.stale - 1), rng)
            usual = min(SAFETY_NET, soon) if self.ended else SAFETY_NET
        elif follows_progress and (rest := self._half_of_the_rest(now)) is not None:
            usual = min(max(SOONEST, rest), backoff.maximum)
        else:
            usual = backoff.delay(max(0, self.polls - 1), rng)
        return after_failure(usual, self.failures, rng) if self.failures else usual

    def _half_of_the_rest(self, now: float) -> float | None:
        """Return half of the estimated remaining seconds; None if the run reports no progress."""
        progress = self.reported
        if progress is None:
            return None
        if self.progress is None:
            self.progress = (progress, now)
        done, since = progress - self.progress[0], now - self.progress[1]
        return since * (1 - progress) / done / 2 if done > 0 and since > 0 else None


def handle_of(sender: Sender, run: LumeRun | str) -> LumeRun:
    """Return the handle, or a new one for an ID. Raises `TypeError`, or `InvalidRequestError` for a malformed ID."""
    if isinstance(run, str):
        return LumeRun(sender, check_run_id(run))
    return arguments.instance(run, "a run", LumeRun, "one of this client, or a run ID")
