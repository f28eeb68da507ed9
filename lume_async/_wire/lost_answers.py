"""The rule for a submission whose answer was lost: may it be sent again, and which run is ours? Pure.

An answer is lost if the request may have started an unknown run: a reset or a timeout after the connection was
established, a 2xx that can't be decoded, a 1xx without a final response, 500, 502, 504. Not lost, and safe to send
again: a refused connection, DNS and TLS handshake errors, 408, 429, 503, the service's own 507 (its disk is full, and
it has done nothing), and every other refusal.
"""

import math
from enum import Enum, auto
from typing import Any

from lume_async._decoding import parse_time
from lume_async._wire.answers import seeds_of
from lume_async._wire.call import Call, CallState
from lume_async._wire.service import FOR_EVER, LUME, Promises
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    DuplicateRunError,
    InvalidRequestError,
    LumeError,
    ResponseDecodeError,
    SubmissionUnknownError,
)
from lume_async.models import RunRecord, RunRequest


class Then(Enum):
    """The next step after a failed submission."""

    RAISE = auto()
    """Raise the error: this submission has not started a run."""
    SEND = auto()
    """Send it again, with the same idempotency key."""
    ASK = auto()
    """Ask the server whether it replays the answer to a known key, and decide again."""
    COMPARE = auto()
    """Compare the run that a 409 names with the lost one: see `is_ours`."""
    UNKNOWN = auto()
    """A run may exist and sending again could start a second one: `SubmissionUnknownError`."""


def decide(error: ApiError | None, *, lost: bool, refuses: bool, has_key: bool | None, again: bool) -> Then:
    """Decide what to do after a failed submission.

        lost  the newest answer            again  a second run is refused  the server has the key  then
        ----  ---------------------------  -----  -----------------------  ----------------------  -------
        no    any                          yes    any                      any                     SEND
        no    any                          no     any                      any                     RAISE
        yes   the service's own: invalid   any    any                      any                     RAISE
        yes   the call's own: a duplicate  any    any                      any                     COMPARE
        yes   any other, or none           no     any                      any                     UNKNOWN
        yes   any other, or none           yes    yes                      any                     SEND
        yes   any other, or none           yes    no                       yes                     SEND
        yes   any other, or none           yes    no                       not known               ASK
        yes   any other, or none           yes    no                       no                      UNKNOWN

    Args:
        error: the latest failure; None if the process that sent the request ended without one.
        lost: whether any answer to this submission was lost, including the latest.
        refuses: whether the server promises to refuse a second run as a duplicate: see `Promises.refuse`.
        has_key: whether the server promises to return the run of the key, and still has it: see `Promises.keep`.
        again: whether another attempt is left, and the time for it.
    """
    if not lost:
        return Then.SEND if again else Then.RAISE
    if isinstance(error, DuplicateRunError):
        return Then.COMPARE
    # Only the service's own answer shows that no earlier attempt has started a run: a gateway's 404 says nothing.
    if isinstance(error, InvalidRequestError) and error._of_service:
        return Then.RAISE
    if not again:
        return Then.UNKNOWN
    if refuses or has_key:
        return Then.SEND
    return Then.ASK if has_key is None else Then.UNKNOWN


def may_have_started_a_run(error: ApiError) -> bool:
    """Return whether the answer to a failed attempt is lost: see the top of this file.

    A reset before the request arrived can't be distinguished from one after it.
    """
    if isinstance(error, ApiConnectionError):
        return error.reached
    status = error.status_code or 0
    if isinstance(error, ResponseDecodeError):
        return status < 300
    if status == 507 and error._of_service:
        return False
    return 0 < status < 200 or (status >= 500 and status != 503)


def is_ours(record: RunRecord, request: RunRequest, sent_at: float | None) -> bool:
    """Return whether the run must be the one that our lost submission has started.

    Args:
        sent_at: when the submission was first sent, in seconds since the epoch on the server's clock.
    """
    same = (record.raw.get("run_metadata") or None) == (request.run_metadata or None)
    same = same and record.raw.get("layout") == request.layout
    return same and seeds_of(record) == (request.seeds or None) and is_new(record, sent_at)


def is_new(record: RunRecord, sent_at: float | None) -> bool:
    """Return whether the server created the run no earlier than `sent_at`, in seconds since the epoch on its clock.

    That clock is read from `Date`, in whole seconds, rounded down, and the response took time to arrive: `sent_at`
    is never too late, so that a run of ours is always new.
    """
    try:
        created = parse_time(record.raw.get("created_at"))
    except ValueError:
        return False
    if sent_at is None:
        return False
    # `created_at` is rounded down, too: to seconds, milliseconds or microseconds.
    unit = 1_000_000 if created.microsecond == 0 else 1000 if created.microsecond % 1000 == 0 else 1
    return round(created.timestamp() * 1e6) >= math.floor(sent_at * 1e6) // unit * unit


def submission_unknown(
    call: Call[Any], error: LumeError | None, state: CallState, promises: Promises
) -> SubmissionUnknownError:
    """Return the error of a submission whose run may exist.

    Args:
        error: the failure that ended the search for the run.
    """
    answer = error if isinstance(error, ApiError) else None
    request, kept, is_lume = call.submits, promises.kept, call.service == LUME.name
    assert request is not None
    reason = error.args[0] if error else "the process that sent it ended"
    known = "if the server knows such keys"
    if kept is not None and kept < FOR_EVER:
        time = f"{kept / 3600:,.0f} hours" if kept >= 7200 else f"{kept:g} seconds"
        known = f"while the server knows it, which is for {time}"
    look = "with list_runs(source_path=...)" if is_lume else f"at {call.service}"
    if is_lume or promises.keys:
        look += f", or submit again with idempotency_key={call.key!r} {known}"
    unknown = SubmissionUnknownError(
        f"the answer to a submission was lost ({reason}): a run of "
        f"{request.flow_version!r} on {request.source_path!r} may exist. Look for it {look}",
        idempotency_key=call.key,
        request=request,
        attempts=state.attempts,
        status_code=answer.status_code if answer else None,
        request_id=answer.request_id if answer else None,
        retry_after=answer.retry_after if answer else None,
    )
    unknown.__cause__ = error
    return unknown
