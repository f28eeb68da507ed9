"""Submitting each item of an input once, over any number of restarts: `Submitter`, with or without a journal."""

import asyncio
import math
import uuid
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeGuard, TypeVar

from lume_async import errors
from lume_async._batch.journal import Entry, Journal
from lume_async._batch.journal_thread import Recorder
from lume_async._http.sender import Sender
from lume_async._many.listing import PAGE
from lume_async._run.handle import LumeRun
from lume_async._run.submit import OnDuplicate, StartedRun, sent_at, submit
from lume_async._wire import endpoints
from lume_async._wire.answers import run_record
from lume_async._wire.call import CallState
from lume_async._wire.lost_answers import Then, decide, is_ours, submission_unknown
from lume_async.errors import (
    ApiError,
    ClientClosedError,
    DuplicateRunError,
    InvalidRequestError,
    RunNotFoundError,
    SubmissionUnknownError,
)
from lume_async.models import Outcome, RunRecord, RunRequest

THROTTLED = 5.0
"""Seconds until an item that the server was too busy for is tried again, where the server names none."""

LAST_SUBMISSION = 10.0
"""Seconds after the deadline that a submission under way may take: cut off, nobody knows whether it made a run."""

P = ParamSpec("P")
T = TypeVar("T")


class Submitter:
    """Begins items and records what comes of them.

    Args:
        recorder: None where nothing has to survive this process.
        retry_failed: whether what the journal knows as failed is submitted once more, as a run of its own.
        timeout: seconds from now on in which items are submitted.
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
        self._claimed: set[str] | None = None

    async def begin(self, item: int, request: RunRequest) -> LumeRun | Outcome[LumeRun]:
        """Submit the item, or find out what became of it before: its run, or its outcome if there is one.

        Raises:
            ConfigurationError: the journal was begun with another input.
        """
        key, state = uuid.uuid4().hex, CallState()
        try:
            entry = await self._record(Journal.begin, item, request, key, self._sender.clock.wall())
            if entry is None:
                return await self._send(item, request, key, state)
            if entry.state == "sending":
                return await self._find_out(item, request, entry)
            if entry.state == "submitted":
                return self._run(entry.body["run"], entry)
            if entry.state == "ended":
                outcome = self._remembered(entry, request)
                if not self._is_to_be_tried_again(outcome):
                    return outcome
            else:
                key = entry.key
            return await self._submit(item, request, key, state)
        except (asyncio.CancelledError, ClientClosedError) as error:
            # A client that was closed says so only of what made no run; else the submission is unknown.
            if state.first_sent is None or isinstance(error, ClientClosedError):
                self._withdraw(item, key)
            raise

    def _withdraw(self, item: int, key: str) -> None:
        if self._recorder is not None:
            self._recorder.note(Journal.withdraw, item, key)

    async def end(self, item: int, outcome: Outcome[LumeRun]) -> None:
        """Record the end of the item's run; an end that was not seen is looked for again at the next start."""
        if outcome.run is not None and outcome.run._record is not None:
            await self._record(Journal.ended, item, {"run": outcome.run._record.raw})

    async def complete(self, count: int) -> None:
        """The input has ended."""
        await self._record(Journal.complete, count)

    def _remembered(self, entry: Entry, request: RunRequest) -> Outcome[LumeRun]:
        """An outcome that the journal knows."""
        if "run" not in entry.body:
            return Outcome(None, error=_thawed_error(entry.body["error"]), request=request, remembered=True)
        run = self._run(entry.body["run"], entry)
        return Outcome(run.id, run=run, request=request, remembered=True)

    def _run(self, raw: dict[str, Any], entry: Entry) -> LumeRun:
        record = run_record(raw)
        return LumeRun(self._sender, record.id, record, idempotency_key=entry.key, reused=entry.reused)

    def _is_to_be_tried_again(self, outcome: Outcome[LumeRun]) -> bool:
        if isinstance(outcome.error, DuplicateRunError) and self._on_duplicate == "attach":
            return True  # it was refused when the caller still said "raise"
        return self._retry_failed and not (outcome.run and outcome.run.has_output)

    async def _submit(
        self, item: int, request: RunRequest, key: str, state: CallState
    ) -> LumeRun | Outcome[LumeRun]:
        await self._record(Journal.sending, item, request, key, self._sender.clock.wall())
        return await self._send(item, request, key, state)

    async def _send(
        self, item: int, request: RunRequest, key: str, state: CallState
    ) -> LumeRun | Outcome[LumeRun]:
        """Send what is recorded as about to be sent, and record what comes of it."""
        while True:
            try:
                done = await self._attempt(request, key, state)
                break
            except ApiError as caught:
                error = caught
            pause = await self._pause(request, error)
            await self._record_failure(item, error)
            if pause is None or not await self._sleep(pause):
                return Outcome(None, error=error, request=request)
            await self._record(Journal.sending, item, request, key, self._sender.clock.wall())
            state.renew()
        await self._record(Journal.submitted, item, done.record.raw, reused=done.reused)
        return LumeRun(self._sender, done.record.id, done.record, idempotency_key=key, reused=done.reused)

    async def _attempt(self, request: RunRequest, key: str, state: CallState) -> StartedRun:
        left = self._deadline - self._sender.clock.now()
        return await submit(
            self._sender,
            request,
            key,
            own_key=False,
            on_duplicate=self._on_duplicate,
            state=state,
            timeout=None if math.isinf(left) else max(0.0, left) + LAST_SUBMISSION,
        )

    async def _pause(self, request: RunRequest, error: ApiError) -> float | None:
        """A full server is no outcome: how many seconds the item waits for its turn; None for any other error."""
        if _is_full(error):
            return error.retry_after or THROTTLED
        full = error.__cause__ if isinstance(error, SubmissionUnknownError) else None
        if full is None or not _is_full(full):
            return None
        replays = await self._sender.replays()
        then = decide(full, lost=True, force_rerun=request.force_rerun, replays=replays, again=True)
        return full.retry_after or THROTTLED if then is Then.SEND else None

    async def _sleep(self, pause: float) -> bool:
        """Whether there is time left after a pause, which ends at the deadline."""
        clock = self._sender.clock
        await clock.sleep(min(pause, max(0.0, self._deadline - clock.now())))
        return clock.now() < self._deadline

    async def _record_failure(self, item: int, error: ApiError) -> None:
        if isinstance(error, SubmissionUnknownError):
            return  # stays `sending`: to be found out
        # A holder that could not be seen yet may be seen at the next start.
        if isinstance(error, InvalidRequestError) and not isinstance(error, RunNotFoundError):
            await self._record(Journal.ended, item, {"error": _frozen_error(error)})
        else:
            await self._record(Journal.unsent, item, str(error))

    async def _find_out(self, item: int, request: RunRequest, entry: Entry) -> LumeRun | Outcome[LumeRun]:
        """The process died between sending and knowing: the same as a lost answer, with the same rules.

        Time has passed, though, and the run may have failed since: where the server knows no keys it is looked
        for first, as a failed run would not keep it from making another.
        """
        clock = self._sender.clock
        state = CallState(lost=True, first_sent=clock.now() - (clock.wall() - entry.at))
        if await self._sender.replays():
            return await self._submit(item, request, entry.key, state)
        failure: ApiError | None = None
        try:
            found = await self._look_up(request, state)
        except ApiError as error:
            found, failure = [], error
        if len(found) == 1:
            await self._record(Journal.submitted, item, found[0].raw, reused=False)
            return LumeRun(self._sender, found[0].id, found[0], idempotency_key=entry.key)
        no_list = failure is not None and failure.status_code in (404, 405, 501)
        if not request.force_rerun and not found and (failure is None or no_list):
            return await self._submit(item, request, entry.key, state)
        call = endpoints.submit(request, entry.key)
        return Outcome(None, error=submission_unknown(call, failure, state), request=request)

    async def _look_up(self, request: RunRequest, state: CallState) -> list[RunRecord]:
        """The runs that the lost submission can have made, by source, time and metadata."""
        claimed = await self._known_runs()
        filters = {
            "flow_version": request.flow_version,
            "source_path": request.source_path,
            "limit": str(PAGE),
        }
        page = await self._sender.send(endpoints.runs(filters, None))
        found = [
            record
            for record in page.items
            if record.id not in claimed
            and (record.raw.get("force_rerun") is True) == request.force_rerun
            and is_ours(record, request, sent_at(self._sender, state))
        ]
        if len(found) == 1:
            claimed.add(found[0].id)
        return found

    async def _known_runs(self) -> set[str]:
        """The runs that belong to an item; read once, as those that come later are not looked for."""
        if self._claimed is None:
            known = await self._record(Journal.known_runs) or set()
            if self._claimed is None:  # another item may have been as quick, and claimed a run already
                self._claimed = known
        return self._claimed

    async def _record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T | None:
        """One call of the journal; nothing where there is none."""
        return None if self._recorder is None else await self._recorder.record(method, *values, **named)


def _is_full(error: BaseException) -> TypeGuard[ApiError]:
    """Whether a server, or one of its backends, has no room for a submission at the moment."""
    return isinstance(error, ApiError) and error.status_code in (429, 503)


def _frozen_error(error: ApiError) -> dict[str, Any]:
    return {"kind": type(error).__name__, "message": error.args[0], "facts": vars(error)}


def _thawed_error(frozen: dict[str, Any]) -> ApiError:
    kind = getattr(errors, frozen["kind"], ApiError)
    error: ApiError = kind(frozen["message"])
    vars(error).update(frozen["facts"])
    return error
