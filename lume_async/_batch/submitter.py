"""`Submitter`: submits each item of an input once; with a journal, across any number of restarts."""

import asyncio
import math
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from lume_async import errors
from lume_async._base.backoff import Backoff
from lume_async._batch.entries import Entry, Kind, PackedOutcome
from lume_async._batch.journal import Journal, Recorder
from lume_async._batch.lookup import LookUp, likeness
from lume_async._batch.recovery import Found, Next, next_step
from lume_async._http.sender import Sender
from lume_async._run.handle import LumeRun, started
from lume_async._run.state import record_of
from lume_async._run.submit import OnDuplicate, StartedRun, submit
from lume_async._wire.answers import run_record
from lume_async._wire.call import CallState
from lume_async._wire.lost_answers import Then, decide, submission_unknown
from lume_async._wire.retry import floor
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ClientClosedError,
    DuplicateRunError,
    InvalidRequestError,
    RunNotFoundError,
    SubmissionUnknownError,
)
from lume_async.models import Outcome, RunRecord, RunRequest, status_of

THROTTLED = 5.0
"""Seconds to wait after a 429 or 503 without `Retry-After`."""

AWAY = 2.0
"""Seconds to wait between tries while a server that has answered before can't be reached."""

LAST_SUBMISSION = 10.0
"""Seconds that a submission may take after the deadline: if it is cut off, it may have started a run."""

RESENDING = Backoff(AWAY)
"""The pauses before a submission whose answers were lost in all attempts is sent again with its key."""

RESENT_FOR = 3_600.0
"""Seconds for which a batch without a timeout does that, and for which it does so while no item gets an answer: a
server may answer 500 for ever.
"""

SETTLED = 300.0
"""Seconds after which no proxy can still be bringing a submission to the service."""

P = ParamSpec("P")
T = TypeVar("T")


class Submitter:
    """Submits items and records their outcomes.

    Args:
        recorder: the journal; None without one.
        retry_failed: submit items again, as new runs, if they failed according to the journal.
        timeout: seconds from now in which items are submitted.
    """

    def __init__(
        self,
        sender: Sender,
        recorder: Recorder | None,
        on_duplicate: OnDuplicate,
        *,
        retry_failed: bool,
        timeout: float | None,
    ) -> None:
        self._sender = sender
        self._recorder = recorder
        self._on_duplicate: OnDuplicate = on_duplicate
        self._retry_failed = retry_failed
        self._deadline = math.inf if timeout is None else sender.clock.now() + timeout
        self._look_up = LookUp(sender, self._known_runs, self._left)
        self._under_way: Counter[bytes] | None = None
        """The number of items under way, or sent since, per request; None until it is needed."""
        self._reading = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._asked = False
        self._broken_since = math.inf
        """When answers began to be lost in all attempts, if none has arrived since."""

    def has_read(self, item: int) -> bool:
        """Return whether `known` can be asked for the item; otherwise `read_ahead` comes first."""
        return self._recorder is None or self._recorder.has_read(item)

    async def read_ahead(self, item: int) -> None:
        """Read the journal's entries of an item and the next ones."""
        if self._recorder is not None:
            await self._recorder.read_ahead(item)

    def known(self, item: int, request: RunRequest) -> Entry | None:
        """Return the journal's entry of the item: see `Journal.entry`. Call once per item, in input order."""
        return None if self._recorder is None else self._recorder.entry(item, request)

    def remembered(self, request: RunRequest, entry: Entry) -> Outcome[LumeRun] | None:
        """Return the item's outcome, if the journal has one and it is not to be retried."""
        if entry.state is Kind.ENDED:
            record = _record(entry)
            if self._retry_failed and not record.status.has_output:
                return None
            run = self._run(record.id, entry, record)
            return Outcome(run.id, run=run, request=request, remembered=True)
        if entry.state is Kind.REFUSED and not self._retry_failed:
            error = _thawed_error(entry.body)
            if not (isinstance(error, DuplicateRunError) and self._on_duplicate == "attach"):
                return Outcome(None, error=error, request=request, remembered=True)
            # Refused by an earlier start with "raise".
        return None

    async def begin(self, item: int, request: RunRequest, entry: Entry | None) -> LumeRun | Outcome[LumeRun]:
        """Submit the item, or find its earlier run; return the run, or an outcome that is known already."""
        if entry is not None and entry.state is Kind.SENDING:
            return await self._find_out(item, request, entry)
        if entry is not None and entry.state is Kind.SUBMITTED and entry.run_id is not None:
            # The process may have ended just after the submission, so that the server may not find the run yet.
            self._sender.recent_runs.add(entry.run_id)
            return self._run(entry.run_id, entry)
        key, state = _key(request, entry), CallState()
        try:
            return await self._submit(item, request, key, state)
        except (asyncio.CancelledError, ClientClosedError) as error:
            # `ClientClosedError` means that no run was started; otherwise the submission would be unknown. Not in
            # `_find_out`: a submission of an earlier process can't be withdrawn.
            unsent = state.first_sent is None or isinstance(error, ClientClosedError)
            if unsent and self._recorder is not None:
                self._recorder.note(Journal.withdraw, item, key)
            raise

    async def end(self, item: int, outcome: Outcome[LumeRun]) -> None:
        """Record the end of the item's run; if it has none, the next start waits for it."""
        if outcome.run is not None and (record := record_of(outcome.run)) is not None:
            await self._record(Journal.ended, item, record.raw)

    async def complete(self, count: int) -> None:
        """Record the number of items of the input."""
        await self._record(Journal.complete, count)

    def _left(self) -> float | None:
        """Return the seconds that a submission, and all that it needs, may still take; None for no limit."""
        if math.isinf(self._deadline):
            return None
        return max(0.0, self._deadline + LAST_SUBMISSION - self._sender.clock.now())

    def _run(self, run_id: str, entry: Entry, record: RunRecord | None = None) -> LumeRun:
        return LumeRun(self._sender, run_id, record, idempotency_key=entry.key, reused=entry.reused)

    async def _submit(
        self, item: int, request: RunRequest, key: str, state: CallState, *, has_twin: bool = False
    ) -> LumeRun | Outcome[LumeRun]:
        await self._record_sending(item, request, key)
        return await self._send(item, request, key, state, has_twin=has_twin)

    async def _record_sending(self, item: int, request: RunRequest, key: str) -> None:
        """Record the time of sending, by the server's clock: this machine's may be adjusted before the next start."""
        if self._recorder is None:
            return
        sender = self._sender
        if not sender.knows_time:
            async with self._asking:  # once; the server's time is optional
                if not self._asked and not sender.knows_time:
                    self._asked = True
                    with suppress(ApiError):
                        left = self._left()
                        limit = LAST_SUBMISSION if left is None else min(LAST_SUBMISSION, left)
                        await sender.send(sender.service.health(), timeout=limit, once=True)
        if self._under_way is not None:
            self._under_way[likeness(request)] += 1
        now = sender.server_time(sender.clock.now())
        await self._record(Journal.sending, item, request, key, now, by_server=sender.knows_time)

    async def _send(
        self,
        item: int,
        request: RunRequest,
        key: str,
        state: CallState,
        *,
        has_twin: bool = False,
        by_key: bool = False,
    ) -> LumeRun | Outcome[LumeRun]:
        """Send an item that is recorded as SENDING, and record the result.

        If a run may exist and only the key can identify it (`by_key`), it is sent only while the server still
        keeps that key. So it is after all attempts of a call have lost their answers, until the deadline.
        """
        sender, resent = self._sender, 0
        by_key = by_key or not sender.service.promises.refuse(request)
        begun = sender.clock.now()
        while True:
            try:
                done = await self._attempt(request, key, state, has_twin)
                break
            except ApiError as caught:
                error = caught
            pause = await self._pause(request, error)
            until = self._deadline
            if math.isinf(until):
                until = min(begun, self._broken_since) + RESENT_FOR
            if pause is None and sender.clock.now() < until and await self._is_safe_by_key(error):
                self._broken_since = min(sender.clock.now(), self._broken_since)
                pause, by_key, resent = RESENDING.delay(resent, sender.rng), True, resent + 1
            await self._record_failure(item, error)
            has_ended = pause is None or not await self._sleep(pause)
            has_key = sender.known.promises.keep(sender.age_of(state))
            if has_ended or (state.lost and by_key and not has_key):
                return Outcome(None, error=error, request=request)
            await self._record_sending(item, request, key)
            state.renew()
        self._broken_since = math.inf
        if not done.reused:  # a reused run may belong to another item
            self._look_up.claim(done.record.id)
        await self._record(Journal.submitted, item, done.record.id, reused=done.reused)
        return started(self._sender, done)

    async def _attempt(self, request: RunRequest, key: str, state: CallState, has_twin: bool) -> StartedRun:
        """Send it once. With `has_twin`, a 409 names the other item's run: our key would return our own run."""
        return await submit(
            self._sender,
            request,
            key,
            own_key=key == request.idempotency_key,
            on_duplicate=self._on_duplicate,
            state=state,
            timeout=self._left(),
            is_anothers=lambda run_id: has_twin or self._look_up.is_claimed(run_id),
        )

    async def _pause(self, request: RunRequest, error: ApiError) -> float | None:
        """Return the seconds to wait for an overloaded or unreachable server; None if the error is the outcome."""
        if (pause := self._waits_for(error)) is not None:
            return pause
        last = error.__cause__ if isinstance(error, SubmissionUnknownError) else None
        if not isinstance(last, ApiError) or (pause := self._waits_for(last)) is None:
            return None
        has_key = await self._sender.replays(self._left())
        refuses = self._sender.known.promises.refuse(request)
        then = decide(last, lost=True, refuses=refuses, has_key=has_key, again=True)
        return pause if then is Then.SEND else None

    async def _is_safe_by_key(self, error: ApiError) -> bool:
        """Return whether a call has lost its answers in all attempts, and its key makes more of them safe."""
        last = error.__cause__ if isinstance(error, SubmissionUnknownError) else None
        return isinstance(last, ApiError) and last.retryable and await self._sender.replays(self._left())

    def _waits_for(self, error: ApiError) -> float | None:
        """Return the seconds to wait for a server that is overloaded or unreachable; None for other errors."""
        if error.status_code in (429, 503):
            return floor(error.retry_after) or THROTTLED
        if isinstance(error, ApiConnectionError) and not error.reached and self._sender.known.has_answered:
            return AWAY
        return None

    async def _sleep(self, pause: float) -> bool:
        """Sleep, at most until the deadline; return whether it has not passed."""
        clock = self._sender.clock
        await clock.sleep(min(pause, max(0.0, self._deadline - clock.now())))
        return clock.now() < self._deadline

    async def _record_failure(self, item: int, error: ApiError) -> None:
        if isinstance(error, SubmissionUnknownError):
            return  # stays SENDING: the next start finds out
        # A run behind a 409 that is not visible yet may be visible at the next start.
        if isinstance(error, InvalidRequestError) and not isinstance(error, RunNotFoundError):
            frozen = {"kind": type(error).__name__, "message": error.args[0], "facts": vars(error)}
            await self._record(Journal.refused, item, frozen)
        else:
            await self._record(Journal.unsent, item, str(error))

    async def _find_out(self, item: int, request: RunRequest, entry: Entry) -> LumeRun | Outcome[LumeRun]:
        """Find the run of an item whose process ended before the response: the rules of a lost response apply.

        The run is looked up first if the server has a list: meanwhile it may have failed, so that a duplicate is not
        refused, or the server may have dropped the key.
        """
        clock = self._sender.clock
        state = CallState(lost=True)
        if entry.by_server:
            state.sent_at = entry.at
        else:
            state.first_sent = clock.now() - (clock.wall() - entry.at)
        found = await self._look_up.find(request, entry.key, state)
        # A server that is overloaded or unreachable is waited for.
        while found.failure is not None and (pause := self._waits_for(found.failure)) is not None:
            if not await self._sleep(pause):
                break
            found = await self._look_up.find(request, entry.key, state)
        step, has_twin = await self._next_step(request, entry, state, found)
        match step:
            case Next.FOLLOW if found.run is not None:
                # It is in the list, and may not be found by its ID yet.
                self._sender.recent_runs.add(found.run.id)
                await self._record(Journal.submitted, item, found.run.id, reused=False)
                return self._run(found.run.id, entry, found.run)
            case Next.ASK_BY_KEY:
                if found.run is not None:
                    self._look_up.release(found.run.id)
                return await self._send(item, request, entry.key, state, has_twin=has_twin, by_key=True)
            case Next.SUBMIT:
                return await self._submit(item, request, entry.key, state, has_twin=has_twin)
        call = self._sender.service.submit(request, entry.key)
        error = submission_unknown(call, found.failure, state, self._sender.known.promises)
        return Outcome(None, error=error, request=request)

    async def _next_step(
        self, request: RunRequest, entry: Entry, state: CallState, found: Found
    ) -> tuple[Next, bool]:
        """Return the next step for the item, and whether another item may have the same run."""
        if found.failure is not None and not found.is_clear:
            return Next.GIVE_UP, False
        sender = self._sender
        await sender.replays(self._left())
        promises, age = sender.known.promises, sender.age_of(state)
        known_age = age if entry.by_server else None
        key_is_kept = promises.kept is not None and promises.keep(known_age) is True
        finds_keys = sender.service.find is not None
        has_twin = key_is_kept and not finds_keys and await self._has_twin(request)
        # If there is no list, only the server's clock shows whether it still has the key.
        age = known_age if found.failure is not None else age
        refuses, has_key = promises.refuse(request), promises.keep(age)
        then = decide(None, lost=True, refuses=refuses, has_key=has_key, again=True)
        may_submit = then is Then.SEND or (finds_keys and age is not None and age >= SETTLED)
        return next_step(found, key_is_kept=key_is_kept, has_twin=has_twin, may_submit=may_submit), has_twin

    async def _has_twin(self, request: RunRequest) -> bool:
        """Return whether another item under way has the same request, so that a found run may be that item's."""
        async with self._reading:  # once, before any item continues
            if self._under_way is None:
                self._under_way = Counter()  # set before reading, so that items sent meanwhile count too
                self._under_way.update(map(likeness, await self._record(Journal.under_way) or ()))
        return self._under_way[likeness(request)] > 1

    async def _known_runs(self) -> set[str]:
        return await self._record(Journal.known_runs) or set()

    async def _record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T | None:
        """Call a method of the journal, if there is one."""
        return None if self._recorder is None else await self._recorder.record(method, *values, **named)


def _key(request: RunRequest, entry: Entry | None) -> str:
    """Return the idempotency key for submitting an item that has no run under way."""
    if entry is not None and entry.state is Kind.UNSENT:
        return entry.key
    # A retry needs a new key even if the caller passed one: the old key returns the old run.
    again = entry is not None and entry.state is Kind.ENDED
    return (None if again else request.idempotency_key) or uuid.uuid4().hex


def _record(entry: Entry) -> RunRecord:
    """Return the run of an item that has ended; its members are inflated when they are asked for."""
    if entry.run_id is None or entry.status is None or not isinstance(entry.stored, PackedOutcome):
        return run_record(entry.body)
    return RunRecord(entry.run_id, status_of(entry.status), entry.stored.value)


def _thawed_error(frozen: dict[str, Any]) -> ApiError:
    kind = getattr(errors, frozen["kind"], ApiError)
    error: ApiError = kind(frozen["message"])
    vars(error).update(frozen["facts"])
    return error
