"""Looking at one run until it ends: what a look costs, when the server may wait for us, what it means."""

import math
from collections.abc import Callable

from lume_async._base.backoff import LAST_POLL, Backoff
from lume_async._http.sender import Sender
from lume_async._run.waiter import Seen, Waiter
from lume_async._wire import endpoints
from lume_async._wire.endpoints import LONGEST_HOLD
from lume_async.models import RunRecord, RunStatus

HELD_AT_LEAST = 0.2
"""An answer sooner than this without a change was not held: a server that lies must not make a hot loop."""


class RunPoll:
    """A probe for `Waiter`: looks once at one run.

    Args:
        record: what is known of the run; its ETag makes an unchanged run cheap.
        on_record: told each newer record.
        done: whether the wait is over; by default at the end of the run.
        hold: whether a server that can may keep a look until the run changes.
    """

    def __init__(
        self,
        sender: Sender,
        run_id: str,
        record: RunRecord | None,
        *,
        on_record: Callable[[RunRecord], None],
        done: Callable[[RunRecord], bool] = lambda record: record.is_terminal,
        hold: bool = True,
    ) -> None:
        self._sender = sender
        self._run_id = run_id
        self._record = record
        self._on_record = on_record
        self._done = done
        self._hold = hold
        self._warned: RunStatus | None = None
        self._not_before = sender.quiet_until(run_id)

    async def __call__(self, left: float | None) -> Seen[RunRecord]:
        sender, before = self._sender, self._record
        etag = before.etag if before else None
        # What is known already may be what the caller waits for, such as the first snapshot of a watch.
        hold = self._seconds_to_hold(left) if before and etag and not self._done(before) else 0.0
        started = sender.clock.now()
        polled = await sender.send(endpoints.status(self._run_id, etag=etag, hold=hold), timeout=left)
        self._not_before = sender.clock.now() + polled.not_before
        if polled.record is not None:
            self._record = polled.record
            self._on_record(polled.record)
            self._warn(polled.record)
        record = self._record
        assert record is not None  # a 304 answers an ETag, and that came with a record
        changed = before is None or record.status != before.status
        held = hold > 0 and (changed or sender.clock.now() - started >= HELD_AT_LEAST)
        return Seen(record, self._done(record), not_before=polled.not_before, held=held)

    async def wait(self, backoff: Backoff, timeout: float | None, max_probes: int | None = None) -> RunRecord:
        """Look until done; once more, after the pause that the last answer asked for.

        Raises:
            Unfinished: not done in time.
            ApiError: the server refuses to show the run, for a reason that waiting does not change.
        """
        sender = self._sender
        return await Waiter(
            self,
            backoff,
            timeout,
            sender.clock,
            sender.rng,
            tolerate=lambda error: sender.patience(error, self._run_id),
            max_probes=max_probes,
            not_before=self._not_before - sender.clock.now(),
        )

    def _seconds_to_hold(self, left: float | None) -> float:
        if not (self._hold and self._sender.may_hold()):
            return 0.0
        if left is not None and left <= LAST_POLL:
            return 0.0  # the look at the deadline: no time to be held
        return float(math.floor(min(LONGEST_HOLD, LONGEST_HOLD if left is None else left)))

    def _warn(self, record: RunRecord) -> None:
        if not (record.status.is_known or record.is_terminal or record.status == self._warned):
            self._warned = record.status
            self._sender.observer.unknown_status(record.id, record.status)
