"""`run_many`: submit requests with bounded concurrency, and yield their outcomes in completion order.

    requests ── _submit_all ── _start ── Monitor ── _collect ── outcomes

A request holds one of `max_active` places from leaving the iterable until the reader takes its outcome, so that one
number bounds the requests, the submissions and the outcomes.
"""

import asyncio
import os
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial

import anyio
from anyio import CancelScope, WouldBlock
from anyio.streams.memory import MemoryObjectSendStream
from attrs import evolve
from yarl import URL

from lume_async._base import arguments
from lume_async._base.backoff import LAST_POLL, PollInterval, polling
from lume_async._base.batched import Items, Steps, pull
from lume_async._base.duration import Duration, optional_seconds
from lume_async._base.elided import elided
from lume_async._base.tasks import is_being_cancelled, task_group
from lume_async._batch.entries import Entry
from lume_async._batch.journal import Recorder
from lume_async._batch.journal_file import path_of
from lume_async._batch.submitter import Submitter
from lume_async._http.sender import Sender
from lume_async._many.completion import finish_after, last_error, outcome_of, too_late
from lume_async._many.monitor import Monitor
from lume_async._many.owned import owned
from lume_async._run.handle import LumeRun, snapshot
from lume_async._run.state import record_of
from lume_async._run.submit import OnDuplicate, check_on_duplicate
from lume_async.errors import ApiError, RunTimeoutError
from lume_async.models import Outcome, RunRequest

SILENCE = 60.0
"""Seconds without any answer after which the caller is warned."""


class Outbox:
    """Outcomes that wait for the reader; taking one frees a place for another request."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)  # anyio's needs a running loop at creation
        self.ready: deque[Outcome[LumeRun]] = deque()
        self.wake: MemoryObjectSendStream[None] | None = None

    def put(self, outcome: Outcome[LumeRun]) -> None:
        """Add an outcome, and wake the reader if it is the first."""
        self.ready.append(outcome)
        if len(self.ready) == 1 and self.wake is not None:
            with suppress(WouldBlock):  # it is awake already
                self.wake.send_nowait(None)

    def take(self) -> Outcome[LumeRun]:
        """Remove and return the oldest outcome."""
        self.places.release()
        return self.ready.popleft()


class Outcomes(Items[Outcome[LumeRun]]):
    """The outcomes of a batch.

    Args:
        work: the batch, which runs from the first step to the last; its error is raised after the outcomes.
    """

    def __init__(self, outbox: Outbox, work: Callable[[], Awaitable[None]]) -> None:
        self._outbox = outbox

        # Quoted: evaluating anyio's type imports modules, which fails during interpreter shutdown.
        async def batch(wake: "MemoryObjectSendStream[None]") -> None:
            outbox.wake = wake
            await work()

        wakes = owned(batch, take=lambda wake: wake, ready=1)
        self._wakes = Steps(wakes.__anext__, wakes)

    async def __anext__(self) -> Outcome[LumeRun]:
        while not self._outbox.ready:
            if self._wakes.is_busy:  # another task waits for outcomes, which are for all
                await self._wakes.until_free()
            else:
                await self._wakes.next()
        return self._outbox.take()

    def _take_ready(self, limit: int) -> list[Outcome[LumeRun]]:
        """Return only outcomes from the journal: taking others early would free places for more runs."""
        ready, taken = self._outbox.ready, list[Outcome[LumeRun]]()
        while len(taken) < limit and ready and ready[0].remembered:
            taken.append(self._outbox.take())
        return taken

    async def aclose(self) -> None:
        """End the batch; outcomes that were not taken are dropped."""
        self._outbox.ready.clear()
        await self._wakes.aclose()


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
) -> Outcomes:
    """Implement `Client.run_many`; arguments are checked here, before the first step."""
    arguments.several(requests, "requests", "RunRequests", (Iterable, AsyncIterable))
    arguments.whole(max_active, "max_active")
    if arguments.flag(retry_failed, "retry_failed") and journal is None:
        raise ValueError("retry_failed needs a journal: without one, earlier runs are not known")
    path = None if journal is None else path_of(journal)
    check_on_duplicate(on_duplicate)
    polling(poll_interval)
    limit = optional_seconds(timeout, "timeout")
    submitting = partial(
        Submitter, sender, on_duplicate=on_duplicate, retry_failed=retry_failed, timeout=limit
    )
    outbox = Outbox(max_active)

    async def work() -> None:
        async with _opened(path, sender) as recorder, Monitor(sender, poll_interval=poll_interval) as monitor:
            with warned_of_silence(sender, limit):
                await _Batch(monitor, submitting(recorder), outbox).run(requests, limit)

    return Outcomes(outbox, work)


@asynccontextmanager
async def _opened(path: str | None, sender: Sender) -> AsyncGenerator[Recorder | None, None]:
    if path is None:
        yield None
        return
    address = str(URL(sender.settings.base_url)).rstrip("/")  # in its usual spelling; it has no secrets
    recorder = await Recorder.open(path, (sender.service.name, address))
    try:
        yield recorder
    finally:
        await recorder.aclose()


class _Batch:
    """One `run_many` in progress: ends when the input has ended and every outcome is in the outbox.

    Args:
        outbox: every request holds one of its places, which the reader frees by taking the outcome.
    """

    def __init__(self, monitor: Monitor, submitter: Submitter, outbox: Outbox) -> None:
        self._monitor = monitor
        self._submitter = submitter
        self._outbox = outbox
        self._followed: dict[str, list[tuple[int, RunRequest, LumeRun]]] = {}
        self._taking = CancelScope()
        self._submitted = anyio.Event()
        self._ended = anyio.Event()
        self._taken = 0  # requests
        self._open = 0  # requests without an outcome
        self._read_to_the_end = False
        self._between_steps = True  # of the input
        self._is_late = False
        # Taken after the deadline, to know whether the input had ended.
        self._unsubmitted: RunRequest | None = None
        self._broken: BaseException | None = None

    async def run(
        self, requests: Iterable[RunRequest] | AsyncIterable[RunRequest], timeout: float | None
    ) -> None:
        """Process the input. Errors of the input and the deadline are raised after all outcomes, errors of the batch
        itself at once.
        """
        async with task_group() as others:
            others.start_soon(self._collect, timeout)
            if timeout is not None:
                others.start_soon(finish_after, self._monitor, timeout, self._stop_submitting)
            await self._submit_all(requests)
            self._submitted.set()
            if self._open:
                await self._ended.wait()
            others.cancel_scope.cancel()
        if self._broken is not None:
            raise self._broken
        if not self._read_to_the_end:
            left = self._unsubmitted
            first = "" if left is None else f", from {elided(left.source_path, 100)!r} on,"
            raise RunTimeoutError(
                f"the timeout of {timeout:g} s passed before the end of the requests: {self._taken:,} were taken, "
                f"those after them{first} were not submitted; repeat the call for them, with the same journal if it "
                "had one"
            )

    async def _submit_all(self, requests: Iterable[RunRequest] | AsyncIterable[RunRequest]) -> None:
        """Submit a request whenever a place is free; return when all submissions have ended."""
        async with task_group() as submissions:
            with self._taking:
                async with aclosing(self._input(requests)) as source:
                    await self._place_free()
                    async for request in source:
                        if self._is_late:
                            self._unsubmitted = request
                            break
                        item, self._taken = self._taken, self._taken + 1
                        self._open += 1
                        entry = self._submitter.known(item, request)
                        outcome = None if entry is None else self._submitter.remembered(request, entry)
                        if outcome is not None:
                            self._deliver(outcome)
                        else:
                            submissions.start_soon(self._submit, item, request, entry)
                        await self._place_free()
                    else:
                        self._read_to_the_end = True
                if self._read_to_the_end and self._broken is None:
                    await self._submitter.complete(self._taken)

    async def _place_free(self) -> None:
        self._between_steps = True
        await self._outbox.places.acquire()
        if not self._submitter.has_read(self._taken):
            await self._submitter.read_ahead(self._taken)
        self._between_steps = False

    async def _input(
        self, requests: Iterable[RunRequest] | AsyncIterable[RunRequest]
    ) -> AsyncGenerator[RunRequest, None]:
        """Yield the requests. An error of the input ends them and is raised after all outcomes.

        SystemExit and KeyboardInterrupt end the batch at once.
        """
        count = 0
        try:
            async with aclosing(pull(requests)) as source:
                async for request in source:
                    count += 1
                    if not isinstance(request, RunRequest):
                        raise TypeError(
                            f"requests must be RunRequests, item {count} is a {type(request).__name__}"
                        )
                    yield request
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            self._broken = error  # not this task was cancelled, but something the input waited for
        except Exception as error:
            self._broken = error

    async def _submit(self, item: int, request: RunRequest, entry: Entry | None) -> None:
        begun = await self._submitter.begin(item, request, entry)
        if isinstance(begun, Outcome):
            self._deliver(begun)
        else:
            self._followed.setdefault(begun.id, []).append((item, request, begun))
            self._monitor.add(begun)

    async def _collect(self, timeout: float | None) -> None:
        """Turn the ends of runs into outcomes; at the deadline, also the unfinished runs."""
        async for event in self._monitor:
            if event.error is None and not event.run.is_terminal:
                continue
            for item, request, run in self._followed.pop(event.run.id, []):
                outcome = outcome_of(event, request)
                if outcome.run is not None and (record := record_of(outcome.run)) is not None:
                    # Each item keeps its own key, even if several have the same run.
                    outcome = evolve(outcome, run=snapshot(run, record))
                await self._submitter.end(item, outcome)
                self._deliver(outcome)
        for run_id, items in self._followed.items():
            for _item, request, run in items:
                error = too_late(run, timeout, last_error(self._monitor, run_id))
                self._deliver(Outcome(run_id, error=error, request=request))

    def _deliver(self, outcome: Outcome[LumeRun]) -> None:
        self._outbox.put(outcome)
        self._open -= 1
        if not self._open and self._submitted.is_set():
            self._ended.set()

    async def _stop_submitting(self) -> None:
        """Stop submitting, and wait for the submissions in flight.

        If the input waits for a place, it is asked once more: only its answer shows whether it has ended.
        """
        self._is_late = True
        self._taking.deadline = anyio.current_time() + (LAST_POLL if self._between_steps else 0.0)
        self._outbox.places.release()
        await self._submitted.wait()


@contextmanager
def warned_of_silence(sender: Sender, timeout: float | None) -> Iterator[None]:
    """Warn once within the block; `timeout` is the batch's, in seconds."""
    has_warned = False
    until = "without end: pass timeout=, " if timeout is None else f"up to its timeout of {timeout:g} s: "

    def listen(seconds: float, error: ApiError) -> None:
        nonlocal has_warned
        if seconds >= SILENCE and not has_warned:
            has_warned = True
            message = (
                f"{sender.settings.base_url} has not answered for {seconds:.0f} s ({error}), and run_many keeps "
                f"trying {until}leave the iteration or press Ctrl-C to end it; runs that were submitted keep running "
                "on the server"
            )
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    sender.on_silence.add(listen)
    try:
        yield
    finally:
        sender.on_silence.discard(listen)
