"""Polling a run: once, until a wait ends, or at every change of its status."""

import math
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from lume_async._base.backoff import LAST_POLL, Backoff
from lume_async._base.batched import Items, Steps
from lume_async._base.clock import Clock
from lume_async._http.sender import Sender
from lume_async._run.waiter import Seen, Unfinished, Waiter
from lume_async._wire.endpoints import LONGEST_HOLD, Polled
from lume_async._wire.retry import floor
from lume_async.errors import ApiError, RunNotFoundError, RunTimeoutError
from lume_async.models import RunRecord, RunStatus

SHORTEST_HOLD = 0.2
"""An unchanged answer in less than this, in seconds, does not count as a long poll: prevents a busy loop."""

Snapshot = TypeVar("Snapshot")


def poll_once(
    sender: Sender,
    run_id: str,
    known: RunRecord | None = None,
    *,
    hold: float = 0.0,
    timeout: float | None = None,
    retry: bool = True,
) -> Coroutine[Any, Any, Polled]:
    """Request the current state of the run; with the ETag of the `known` one, an unchanged run is cheap.

    The server may `hold` the answer for so many seconds until a change; `timeout` is for all attempts.
    """
    call = sender.service.status(run_id, etag=known.etag if known else None, hold=hold)
    return sender.send(call, timeout=timeout, once=not retry)


def fetch(sender: Sender, run_id: str, timeout: float | None = None) -> Coroutine[Any, Any, RunRecord]:
    """Request the run, without an ETag; `timeout` is in seconds, retries included."""
    return sender.send(sender.service.run(run_id), timeout=timeout)


def patience(sender: Sender, error: Exception, run_id: str, asked: float) -> float | None:
    """After a failed poll, the minimum delay in seconds before the next one; None if polling again can't help.

    A failed poll, which began at `asked`, is not a failed run.
    """
    if not isinstance(error, ApiError):
        return None
    not_yet = isinstance(error, RunNotFoundError) and sender.recent_runs.is_fresh(run_id, asked)
    return floor(error.retry_after) if error.retryable or not_yet else None


class RunPoll:
    """A probe for `Waiter`: polls one run, with long polling if the server supports it."""

    def __init__(
        self,
        sender: Sender,
        run_id: str,
        record: RunRecord | None,
        *,
        on_record: Callable[[RunRecord], None],
        done: Callable[[RunRecord], bool] = lambda record: record.is_terminal,
        long_poll: bool = True,
    ) -> None:
        self._sender = sender
        self._run_id = run_id
        self._record = record
        self._on_record = on_record
        self._done = done
        self._long_poll = long_poll
        self._asked = sender.clock.now()
        self._not_before = self._asked + sender.recent_runs.quiet_for(run_id)

    async def __call__(self, left: float | None) -> Seen[RunRecord]:
        sender, before = self._sender, self._record
        hold = self._seconds_to_hold(before, left)
        started = self._asked = sender.clock.now()
        polled = await poll_once(sender, self._run_id, before, hold=hold, timeout=left)
        ended = sender.clock.now()
        self._not_before = ended + polled.not_before
        if polled.record is not None:
            self._record = polled.record
            self._on_record(polled.record)
        record = self._record
        assert record is not None  # a 304 answers an ETag, which came with a record
        changed = before is None or record.status != before.status
        waited = hold > 0 and (changed or ended - started >= SHORTEST_HOLD)
        return Seen(record, self._done(record), not_before=polled.not_before, waited=waited)

    async def wait(self, backoff: Backoff, timeout: float | None, max_probes: int | None = None) -> RunRecord:
        """Poll until done, first after the pause that the last answer asked for. Raises `Unfinished`, `ApiError`."""
        sender = self._sender
        return await Waiter(
            self,
            backoff,
            timeout,
            sender.clock,
            sender.rng,
            tolerate=lambda error: patience(sender, error, self._run_id, self._asked),
            max_probes=max_probes,
            not_before=self._not_before - sender.clock.now(),
        )

    def _seconds_to_hold(self, known: RunRecord | None, left: float | None) -> float:
        # The caller may wait for the known state itself, such as the first snapshot of a watch.
        if known is None or not known.etag or self._done(known):
            return 0.0
        if not (self._long_poll and self._sender.may_long_poll()):
            return 0.0
        if left is not None and left <= LAST_POLL:
            return 0.0  # the poll at the deadline must not wait
        return float(math.floor(min(LONGEST_HOLD, LONGEST_HOLD if left is None else left)))


def timeout_error(run: Any, unfinished: Unfinished, limit: str) -> RunTimeoutError:
    """Return the error of a wait for a `LumeRun` that has used up its time or its polls."""
    status = run.status or "never seen"
    error = f"; the last error was: {unfinished.last_error}" if unfinished.last_error else ""
    what = f"did not end {limit} (status: {status})"
    if quiet := unfinished.quiet:
        what = (
            f"has not ended (status: {status}), and the server asked us not to poll for {quiet:.0f} s, "
            "which is past the deadline"
        )
    instead = "wait again or cancel it" if run._connected.can("cancel") else "wait again"
    return RunTimeoutError(f"run {run.id} {what}; it keeps running: {instead}{error}", run=run)


class RunWatch(Items[Snapshot], Generic[Snapshot]):
    """Yields a snapshot at every change of the status and ends after the terminal one.

    Nothing runs between two steps: the iteration can be left at any point, and any task may take the next step.
    """

    def __init__(
        self,
        poll: Callable[[Callable[[RunRecord], bool]], RunPoll],
        snapshot: Callable[[RunRecord], Snapshot],
        timed_out: Callable[[Unfinished], RunTimeoutError],
        *,
        backoff: Backoff,
        timeout: float | None,
        clock: Clock,
    ) -> None:
        self._poll = poll(lambda record: record.status != self._shown or record.is_terminal)
        self._snapshot = snapshot
        self._timed_out = timed_out
        self._backoff = backoff
        self._timeout = timeout
        self._clock = clock
        self._deadline: float | None = None
        self._shown: RunStatus | None = None
        self._ended = False
        self._steps = Steps(self._next)

    async def __anext__(self) -> Snapshot:
        """Return the next snapshot. Raises `RunTimeoutError` from `timeout` seconds after the first step on."""
        return await self._steps.next()

    async def _next(self) -> Snapshot:
        if self._ended:
            raise StopAsyncIteration
        left = None
        if self._timeout is not None:
            if self._deadline is None:
                self._deadline = self._clock.now() + self._timeout
            left = max(0.0, self._deadline - self._clock.now())
        try:
            record = await self._poll.wait(self._backoff, left)
        except Unfinished as caught:
            unfinished = caught
        else:
            self._shown, self._ended = record.status, record.is_terminal
            return self._snapshot(record)
        self._ended = True
        raise self._timed_out(unfinished) from unfinished.last_error

    async def aclose(self) -> None:
        await self._steps.aclose()
