"""A batch of sources in one task: submitted with bounded concurrency, each once, over any number of restarts.

    sources ── _requests ── run_many ── _settle ── BatchResult
                  └──────── the next generation ────┘

The input of `run_many` ends when every source has its outcome.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from anyio import create_memory_object_stream
from attrs import evolve, frozen

from lume_airflow._identity import TaskTry, key_of
from lume_airflow._options import BatchOptions
from lume_airflow._results import BatchResult
from lume_async import Client, LumeRun, Outcome, RunRequest, RunTimeoutError

REPORTED = 100
"""After so many outcomes there is a line in the log."""


PATIENCE = 10
"""So many runs of others may hold a source and fail, one after the other, before it counts as failed."""


@frozen
class _Place:
    """Where a request belongs, and how often somebody else's failure was in its way."""

    source: str
    item: str
    generation: int = 0
    waited: int = 0


class Batch:
    """One batch; `run` it once.

    Args:
        report: called with a line for the log, now and then.
    """

    def __init__(
        self, client: Client, options: BatchOptions, task: TaskTry, report: Callable[[str], object]
    ) -> None:
        self._client = client
        self._options = options
        self._task = task
        self._report = report
        self._places: dict[str, _Place] = {}
        self._again, self._queue = create_memory_object_stream[RunRequest](math.inf)  # bounded by the sources
        self._all_taken = False
        self._result = BatchResult(len(options.source_paths))
        self.timed_out = False

    async def run(self, timeout: float | None) -> BatchResult:
        """Every source that could be submitted, at its end.

        Args:
            timeout: seconds; then nothing more is submitted, and what has not ended is a failure.
        """
        outcomes = self._client.run_many(
            self._requests(), max_active=self._options.max_active, on_duplicate="attach", timeout=timeout
        )
        with self._again, self._queue:
            async for outcome in outcomes:
                self._settle(outcome)
        return self._result

    @property
    def _enough(self) -> bool:
        limit = self._options.max_failures
        return limit is not None and self._result.failed > limit

    async def _requests(self) -> AsyncGenerator[RunRequest, None]:
        for source, item in self._options.items():
            if self._enough:
                break
            yield self._request(_Place(source, item))
        self._all_taken = True
        self._close_if_done()
        async with aclosing(self._queue):
            async for request in self._queue:
                yield request

    def _request(self, place: _Place) -> RunRequest:
        key = self._task.key(place.generation, place.item)
        self._places[key] = place
        return self._options.request(self._task, place.source, key)

    def _settle(self, outcome: Outcome[LumeRun]) -> None:
        key = outcome.request.idempotency_key if outcome.request else None
        assert key is not None
        place = self._places.pop(key)
        following = self._following(place, key, outcome.run)
        if following is not None:
            self._again.send_nowait(self._request(following))
            return
        self.timed_out |= isinstance(outcome.error, RunTimeoutError)
        self._result.add(outcome)
        counted = self._result.summary.outcomes
        if counted % REPORTED == 0 or counted == self._result.sources:
            self._report(f"{counted:,} of {self._result.sources:,} sources, {self._result.failed:,} failed")
        self._close_if_done()

    def _following(self, place: _Place, key: str, run: LumeRun | None) -> _Place | None:
        """What comes after a run that is not the end of its source."""
        if run is None or run.has_output:
            return None
        if key_of(run) != key:
            return evolve(place, waited=place.waited + 1) if place.waited < PATIENCE else None
        if self._task.goes_on(run, key, place.generation):
            return evolve(place, generation=place.generation + 1)
        return None

    def _close_if_done(self) -> None:
        if self._all_taken and not self._places:
            self._again.close()
