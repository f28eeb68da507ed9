"""Submitting each item of an input once, over any number of restarts: `Submitter`, with or without a journal."""

import uuid
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from lume_async import _endpoints, errors
from lume_async._journal import Entry, Journal
from lume_async._listing import PAGE
from lume_async._run import LumeRun
from lume_async._sender import Sender
from lume_async._sending import Sending, submission_unknown
from lume_async._submit import OnDuplicate, is_ours, submit
from lume_async._wire import run_record
from lume_async.errors import (
    ApiError,
    DuplicateRunError,
    InvalidRequestError,
    RateLimitError,
    SubmissionUnknownError,
)
from lume_async.models import Outcome, RunRecord, RunRequest

THROTTLED = 5.0
"""Seconds until an item that the server was too busy for is tried again, where the server names none."""

P = ParamSpec("P")
T = TypeVar("T")


class Submitter:
    """Begins items and records what comes of them.

    Args:
        journal: None where nothing has to survive this process.
        retry_failed: whether what the journal knows as failed is submitted once more, as a run of its own.
    """

    def __init__(
        self, sender: Sender, journal: Journal | None, on_duplicate: OnDuplicate, *, retry_failed: bool
    ) -> None:
        self._sender = sender
        self._journal = journal
        self._on_duplicate: OnDuplicate = on_duplicate
        self._retry_failed = retry_failed
        self._thread = CapacityLimiter(1)  # one journal call at a time, off the event loop
        self._claimed: set[str] | None = None

    async def begin(self, item: int, request: RunRequest) -> LumeRun | Outcome[LumeRun]:
        """Submit the item, or find out what became of it before: its run, or its outcome if there is one.

        Raises:
            ConfigurationError: the journal was begun with another input.
        """
        key = uuid.uuid4().hex
        entry = await self._record(Journal.begin, item, request, key, self._sender.clock.wall())
        if entry is None:
            return await self._send(item, request, key, Sending())
        if entry.state == "ended":
            outcome = _outcome(entry.body, request, self._sender)
            if self._is_to_be_tried_again(outcome):
                return await self._submit(item, request, key, Sending())
            return outcome
        if entry.state == "submitted":
            return LumeRun(
                self._sender,
                entry.body["run"]["id"],
                run_record(entry.body["run"]),
                idempotency_key=entry.key,
                reused=entry.body["reused"],
            )
        if entry.state == "unsent":
            return await self._submit(item, request, entry.key, Sending())
        return await self._find_out(item, request, entry)

    def _is_to_be_tried_again(self, outcome: Outcome[LumeRun]) -> bool:
        if isinstance(outcome.error, DuplicateRunError) and self._on_duplicate == "attach":
            return True  # it was refused when the caller still said "raise"
        return self._retry_failed and not (outcome.run and outcome.run.has_output)

    async def end(self, item: int, outcome: Outcome[LumeRun]) -> None:
        """Record the end of the item's run; an end that was not seen is looked for again at the next start."""
        if outcome.run is not None and outcome.run._record is not None:
            await self._record(Journal.ended, item, {"run": outcome.run._record.raw})

    async def complete(self, count: int) -> None:
        """The input has ended."""
        await self._record(Journal.complete, count)

    async def _submit(
        self, item: int, request: RunRequest, key: str, sending: Sending
    ) -> LumeRun | Outcome[LumeRun]:
        await self._record(Journal.sending, item, request, key, self._sender.clock.wall())
        return await self._send(item, request, key, sending)

    async def _send(
        self, item: int, request: RunRequest, key: str, sending: Sending
    ) -> LumeRun | Outcome[LumeRun]:
        """Send what is recorded as about to be sent, and record what comes of it."""
        try:
            done = await submit(
                self._sender, request, key, own_key=False, on_duplicate=self._on_duplicate, sending=sending
            )
        except SubmissionUnknownError as error:
            return Outcome(None, error=error, request=request)  # stays `sending`: to be found out
        except RateLimitError as error:  # a full server is no outcome: the item waits for its turn
            await self._record(Journal.unsent, item, str(error))
            await self._sender.clock.sleep(error.retry_after or THROTTLED)
            return await self._submit(item, request, key, sending)
        except ApiError as error:
            if isinstance(error, InvalidRequestError):
                await self._record(Journal.ended, item, {"error": _frozen_error(error)})
            else:
                await self._record(Journal.unsent, item, str(error))
            return Outcome(None, error=error, request=request)
        await self._record(Journal.submitted, item, done.record.raw, reused=done.reused)
        return LumeRun(self._sender, done.record.id, done.record, idempotency_key=key, reused=done.reused)

    async def _find_out(self, item: int, request: RunRequest, entry: Entry) -> LumeRun | Outcome[LumeRun]:
        """The process died between sending and knowing: the same as a lost answer, with the same rules."""
        clock = self._sender.clock
        sending = Sending(lost=True, first_sent=clock.now() - (clock.wall() - entry.at))
        if not request.force_rerun or await self._sender.replays():
            return await self._submit(item, request, entry.key, sending)
        try:
            found = await self._look_up(request, sending)
        except ApiError as error:
            failure: ApiError | None = error
        else:
            if found is not None:
                await self._record(Journal.submitted, item, found.raw, reused=False)
                return LumeRun(self._sender, found.id, found, idempotency_key=entry.key)
            failure = None
        call = _endpoints.submit(request, entry.key)
        return Outcome(None, error=submission_unknown(call, failure, sending), request=request)

    async def _look_up(self, request: RunRequest, sending: Sending) -> RunRecord | None:
        """The one run that the lost submission can have made, by source, time and metadata."""
        if self._claimed is None:
            self._claimed = await self._record(Journal.known_runs) or set()
        filters = {
            "flow_version": request.flow_version,
            "source_path": request.source_path,
            "limit": str(PAGE),
        }
        sending.dated = True
        page = await self._sender.send(_endpoints.runs(filters, None), sending=sending)
        found = [
            record
            for record in page.items
            if record.id not in self._claimed
            and record.raw.get("force_rerun") is True
            and is_ours(record, request, sending, self._sender)
        ]
        if len(found) != 1:
            return None
        self._claimed.add(found[0].id)
        return found[0]

    async def _record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T | None:
        """One call of the journal, off the event loop; nothing where there is none."""
        journal = self._journal
        if journal is None:
            return None
        return await to_thread.run_sync(lambda: method(journal, *values, **named), limiter=self._thread)


def _outcome(body: dict[str, Any], request: RunRequest, sender: Sender) -> Outcome[LumeRun]:
    """An outcome that the journal remembers."""
    if "run" in body:
        record = run_record(body["run"])
        return Outcome(record.id, run=LumeRun(sender, record.id, record), request=request)
    return Outcome(None, error=_thawed_error(body["error"]), request=request)


def _frozen_error(error: ApiError) -> dict[str, Any]:
    return {"kind": type(error).__name__, "message": error.args[0], "facts": vars(error)}


def _thawed_error(frozen: dict[str, Any]) -> ApiError:
    kind = getattr(errors, frozen["kind"], ApiError)
    error: ApiError = kind(frozen["message"])
    vars(error).update(frozen["facts"])
    return error
