"""A batch of sources in one task: submitted with bounded concurrency, each once, over any number of restarts.

    sources ── _requests ── run_many ── _settle ── BatchResult
       │          └──────── the next generation ────┤
       └ runs_by_key ── existing runs ── _follow ───┘

The input of `run_many` ends when every source has its outcome.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime

from anyio import Event, create_memory_object_stream, create_task_group
from attrs import evolve, frozen

from lume_airflow._identity import TaskTry, key_of
from lume_airflow._options import BatchOptions
from lume_airflow._results import BatchResult
from lume_airflow._started import runs_by_key
from lume_async import Client, LumeError, LumeRun, Outcome, RunRequest, RunTimeoutError

REPORTED = 100
"""The number of outcomes per line in the log."""

PATIENCE = 10
"""The number of failed runs of others, one after the other, that held a source before it counts as failed."""


@frozen
class _Place:
    """The source of a request, its generation, and the number of failed runs of others that it has waited for."""

    source: str
    item: str
    generation: int = 0
    waited: int = 0


class Batch:
    """One batch; `run` it once.

    Args:
        report: called with lines for the log.
        since: the earliest possible start of the first attempt; earlier runs are ignored.
    """

    def __init__(
        self,
        client: Client,
        options: BatchOptions,
        task: TaskTry,
        report: Callable[[str], object],
        since: datetime | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._task = task
        self._report = report
        self._since = since
        self._begun: set[str] = set()  # items that an earlier attempt has submitted
        self._freed = Event()
        self._places: dict[str, _Place] = {}
        self._again, self._queue = create_memory_object_stream[RunRequest](math.inf)  # bounded by the sources
        self._all_taken = False
        self._result = BatchResult(len(options.source_paths))
        self.timed_out = False

    async def run(self, timeout: float | None) -> BatchResult:
        """Run the batch until all submitted sources have ended.

        Args:
            timeout: seconds; then submitting stops, and unfinished sources are failures.

        Raises:
            LumeError: the batch itself failed.
        """
        earlier = await self._earlier()
        failed: LumeError | None = None
        outcomes = self._client.run_many(
            self._requests(), max_active=self._options.max_active, on_duplicate="attach", timeout=timeout
        )
        with self._again, self._queue:
            async with create_task_group() as tasks:
                tasks.start_soon(self._follow, earlier, timeout)
                try:
                    async for outcome in outcomes:
                        self._settle(outcome)
                except RunTimeoutError:  # after the outcomes
                    self.timed_out |= self._result.unfinished
                except LumeError as error:  # raised below, outside the task group
                    failed = error
                    tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed
        return self._result

    async def _earlier(self) -> dict[str, tuple[LumeRun, RunRequest]]:
        """Return the newest run of each item that an earlier attempt has submitted, for a forced batch."""
        if not self._options.forces(self._task):
            return {}
        runs = await runs_by_key(
            self._client,
            self._options.keys(self._task),
            flow_version=self._options.flow_version,
            since=self._since,
        )
        earlier: dict[str, tuple[LumeRun, RunRequest]] = {}
        for source, item in self._options.items() if runs else ():
            for generation in reversed(range(self._task.tries)):
                run = runs.get(self._task.key(generation, item))
                if run is not None:
                    earlier[run.id] = run, self._request(_Place(source, item, generation))
                    self._begun.add(item)
                    break
        return earlier

    async def _follow(self, earlier: dict[str, tuple[LumeRun, RunRequest]], timeout: float | None) -> None:
        runs = [run for run, _ in earlier.values()]
        async for outcome in self._client.as_completed(runs, timeout=timeout):
            assert outcome.run_id is not None
            _, request = earlier[outcome.run_id]
            self._settle(evolve(outcome, request=request), found=True)

    async def _requests(self) -> AsyncGenerator[RunRequest, None]:
        limit = self._options.max_failures
        for source, item in self._options.items():
            if item in self._begun:
                continue
            await self._wait_for_room()
            if limit is not None and self._result.failed > limit:
                break
            yield self._request(_Place(source, item))
        self._all_taken = True
        self._close_if_done()
        async with aclosing(self._queue):
            async for request in self._queue:
                yield request

    async def _wait_for_room(self) -> None:
        """Wait while the runs of earlier attempts and of this one reach `max_active`."""
        while self._begun:
            waiting = self._queue.statistics().current_buffer_used
            if len(self._places) - waiting < self._options.max_active:
                break
            self._freed = Event()
            await self._freed.wait()

    def _request(self, place: _Place) -> RunRequest:
        key = self._task.key(place.generation, place.item)
        self._places[key] = place
        return self._options.request(self._task, place.source, key)

    def _settle(self, outcome: Outcome[LumeRun], *, found: bool = False) -> None:
        key = outcome.request.idempotency_key if outcome.request else None
        assert key is not None
        place = self._places.pop(key)
        self._freed.set()
        following = self._next_place(place, key, outcome.run, found=found)
        if following is not None and self._queue.statistics().open_receive_streams:  # none past the deadline
            self._again.send_nowait(self._request(following))
            return
        self.timed_out |= isinstance(outcome.error, RunTimeoutError)
        self._result.add(outcome)
        counted = self._result.summary.outcomes
        if counted % REPORTED == 0 or counted == self._result.sources:
            self._report(f"sources: {counted:,} of {self._result.sources:,}, {self._result.failed:,} failed")
        self._close_if_done()

    def _next_place(self, place: _Place, key: str, run: LumeRun | None, *, found: bool) -> _Place | None:
        """Return the next submission of a source whose run has failed; None if there is none."""
        if run is None or run.has_output:
            return None
        if key_of(run) != key:
            return evolve(place, waited=place.waited + 1) if place.waited < PATIENCE else None
        if self._task.needs_next(run, key, place.generation, found=found):
            return evolve(place, generation=place.generation + 1)
        return None

    def _close_if_done(self) -> None:
        if self._all_taken and not self._places:
            self._again.close()
