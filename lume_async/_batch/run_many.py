"""`run_many`: submit a stream of requests, so many at a time, and tell their outcomes as they come.

    requests ── _feed ── _start ── Monitor ── _collect ── outcomes

A request holds one of `max_active` places from the moment it is taken from the iterable until its outcome is
taken by the reader: the iterable, the submissions and the outcomes are bounded by the same number.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from attrs import evolve

from lume_async._base.backoff import PollInterval, polling
from lume_async._base.duration import Duration, optional_seconds
from lume_async._batch.journal_thread import Recorder
from lume_async._batch.submitter import Submitter
from lume_async._http.sender import Sender
from lume_async._many.completion import outcome_of, too_late
from lume_async._many.monitor import Monitor
from lume_async._many.pull import pull
from lume_async._run.handle import LumeRun
from lume_async._run.submit import OnDuplicate, check_on_duplicate
from lume_async.models import Outcome, RunRequest


def run_many(
    sender: Sender,
    requests: Iterable[RunRequest] | AsyncIterable[RunRequest],
    *,
    max_active: int,
    journal: str | os.PathLike[str] | None,
    retry_failed: bool,
    on_duplicate: OnDuplicate,
    timeout: Duration | None,
    poll_interval: PollInterval,
) -> AsyncGenerator[Outcome[LumeRun], None]:
    """See `Client.run_many`; bad arguments are told here, before the first step."""
    if isinstance(max_active, bool) or not isinstance(max_active, int) or max_active < 1:
        raise ValueError(f"max_active must be a whole number of at least 1, not {max_active!r}")
    if retry_failed and journal is None:
        raise ValueError("retry_failed needs a journal: without one nothing is known of earlier runs")
    check_on_duplicate(on_duplicate)
    polling(poll_interval)
    limit = optional_seconds(timeout, "timeout")
    submitting = partial(
        Submitter, sender, on_duplicate=on_duplicate, retry_failed=retry_failed, timeout=limit
    )
    return _outcomes(sender, requests, max_active, journal, submitting, limit, poll_interval)


async def _outcomes(
    sender: Sender,
    requests: Iterable[RunRequest] | AsyncIterable[RunRequest],
    max_active: int,
    journal_path: str | os.PathLike[str] | None,
    submitting: Callable[[Recorder | None], Submitter],
    timeout: float | None,
    poll_interval: PollInterval,
) -> AsyncGenerator[Outcome[LumeRun], None]:
    journal = None if journal_path is None else await Recorder.open(journal_path)
    try:
        async with Monitor(sender, poll_interval=poll_interval) as monitor:
            batch = _Batch(monitor, submitting(journal), max_active)
            try:
                batch.begin(requests, timeout)
                while (outcome := await batch.next()) is not None:
                    yield outcome
            finally:
                await batch.aclose()
    finally:
        if journal is not None:
            await journal.aclose()


class _Batch:
    """One `run_many` under way: owns its tasks; ends when the input has and every outcome was taken."""

    def __init__(self, monitor: Monitor, submitter: Submitter, max_active: int) -> None:
        self._monitor = monitor
        self._submitter = submitter
        self._places = asyncio.Semaphore(max_active)
        self._done: asyncio.Queue[Outcome[LumeRun] | BaseException | None] = asyncio.Queue()
        self._items: dict[str, list[tuple[int, RunRequest, LumeRun]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._open = 0  # requests taken whose outcomes were not
        self._exhausted = False
        self._broken: Exception | None = None

    def begin(
        self, requests: Iterable[RunRequest] | AsyncIterable[RunRequest], timeout: float | None
    ) -> None:
        feed = self._spawn(self._feed(requests))
        self._spawn(self._collect(timeout))
        if timeout is not None:
            self._spawn(self._ring(timeout, feed))

    async def next(self) -> Outcome[LumeRun] | None:
        """The next outcome, None after the last one.

        Raises:
            Exception: what the input raised, after all outcomes; what broke the batch itself, at once.
        """
        while not (self._exhausted and self._open == 0):
            outcome = await self._done.get()
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is not None:
                self._open -= 1
                self._places.release()
                return outcome
        if self._broken is not None:
            raise self._broken
        return None

    async def aclose(self) -> None:
        """Stop everything; runs that were started go on, and the journal knows them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _feed(self, requests: Iterable[RunRequest] | AsyncIterable[RunRequest]) -> None:
        """Take a request whenever a place is free, and start it."""
        count = 0
        source = pull(requests)
        try:
            await self._places.acquire()
            async for request in source:
                if not isinstance(request, RunRequest):
                    raise TypeError(
                        f"run_many takes RunRequests, item {count + 1} is a {type(request).__name__}"
                    )
                self._open += 1
                start = self._spawn(self._start(count, request))
                self._starting.add(start)
                start.add_done_callback(self._starting.discard)
                count += 1
                await self._places.acquire()
        except Exception as error:
            self._broken = error
        else:
            await self._submitter.complete(count)
        finally:
            await source.aclose()
        self._end_input()

    async def _start(self, item: int, request: RunRequest) -> None:
        begun = await self._submitter.begin(item, request)
        if isinstance(begun, Outcome):
            self._done.put_nowait(begun)
        else:
            self._items.setdefault(begun.id, []).append((item, request, begun))
            self._monitor.add(begun)

    async def _collect(self, timeout: float | None) -> None:
        """Turn the ends of runs into outcomes; at the deadline the rest, too."""
        async for event in self._monitor:
            if event.error is None and not event.run.is_terminal:
                continue
            for item, request, run in self._items.pop(event.run.id, []):
                outcome = outcome_of(event, request)
                if outcome.run is not None and outcome.run._record is not None:
                    # Each item keeps its own key, also where several led to one run.
                    outcome = evolve(outcome, run=run._snapshot(outcome.run._record))
                await self._submitter.end(item, outcome)
                self._done.put_nowait(outcome)
        for run_id, items in self._items.items():
            for _item, request, run in items:
                self._done.put_nowait(Outcome(run_id, error=too_late(run, timeout), request=request))
        self._end_input()

    async def _ring(self, timeout: float, feed: asyncio.Task[None]) -> None:
        """At the deadline: take nothing more, let submissions end, one last look at every run."""
        await self._monitor._sender.clock.sleep(timeout)
        feed.cancel()
        await asyncio.gather(feed, *self._starting, return_exceptions=True)
        await self._monitor._last_round()
        await self._monitor._events.put(None)

    def _end_input(self) -> None:
        self._exhausted = True
        self._done.put_nowait(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._done.put_nowait(error)
