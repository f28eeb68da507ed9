"""A submission whose answer was lost: may it be sent again, and which run is ours? The whole rule. Pure.

An answer is lost where the request may have started a run and nobody said which: a reset or a timeout after the
connection stood, a 2xx that can't be decoded, a 1xx with nothing behind it, 500, 502, 504. Not lost, and safe to
send again: a refused connection, DNS, the TLS handshake, 408, 429, 503, and every answer that refuses.
"""

import math
from datetime import datetime
from enum import Enum, auto
from typing import Any

from lume_async._decoding import parse_time
from lume_async._wire.call import Call, CallState
from lume_async._wire.headers import IDEMPOTENCY_KEY
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    DuplicateRunError,
    LumeError,
    ResponseDecodeError,
    SubmissionUnknownError,
)
from lume_async.models import RunRecord, RunRequest


class Then(Enum):
    """What follows a submission that failed."""

    RAISE = auto()
    """The error says what happened: this submission has started no run."""
    SEND = auto()
    """Send it again, with the same idempotency key."""
    ASK = auto()
    """Ask the server whether it replays the answer of a known key, and decide again."""
    COMPARE = auto()
    """A 409 names the run that holds the source: `is_ours` says whether it is the lost one."""
    UNKNOWN = auto()
    """A run may exist and sending again could start a second one: `SubmissionUnknownError`."""


def decide(
    error: ApiError | None, *, lost: bool, force_rerun: bool, replays: bool | None, again: bool
) -> Then:
    """What follows a failed submission.

        lost  the newest answer                       again  force_rerun  server replays keys  then
        ----  --------------------------------------  -----  -----------  -------------------  -------
        no    any                                     yes    any          any                  SEND
        no    any                                     no     any          any                  RAISE
        yes   the service's own 400, 404, 413 or 422  any    any          any                  RAISE
        yes   409                                     any    any          any                  COMPARE
        yes   any other, or none                      no     any          any                  UNKNOWN
        yes   any other, or none                      yes    False        any                  SEND
        yes   any other, or none                      yes    True         yes                  SEND
        yes   any other, or none                      yes    True         not known            ASK
        yes   any other, or none                      yes    True         no                   UNKNOWN

    Without `force_rerun` a second run is refused by the server as a duplicate, so that sending again is safe
    anywhere; with it only the idempotency key prevents one.

    Args:
        error: the newest failure; None where the process that sent the request ended without one.
        lost: whether any answer of this submission was lost, the newest included.
        replays: whether the server answers a known key with its first answer; None where that is not known.
        again: whether attempts and time are left for another one.
    """
    if not lost:
        return Then.SEND if again else Then.RAISE
    if error is not None and _refused_by_service(error):
        return Then.RAISE
    if isinstance(error, DuplicateRunError):
        return Then.COMPARE
    if not again:
        return Then.UNKNOWN
    if not force_rerun or replays:
        return Then.SEND
    return Then.ASK if replays is None else Then.UNKNOWN


def may_have_started_a_run(error: ApiError) -> bool:
    """Whether an attempt that failed like this loses its answer: see the top of this file.

    A reset before the service can't be told from one after it.
    """
    if isinstance(error, ApiConnectionError):
        return error.reached
    status = error.status_code or 0
    if isinstance(error, ResponseDecodeError):
        return status < 300
    return 0 < status < 200 or (status >= 500 and status != 503)


def is_ours(record: RunRecord, request: RunRequest, sent_at: float | None) -> bool:
    """Whether a run can only be the one that a lost submission of ours has started.

    Args:
        sent_at: when the submission was first sent, as the server's own clock shows it.
    """
    same = (record.raw.get("run_metadata") or None) == (request.run_metadata or None)
    return same and is_new(record, sent_at)


def is_new(record: RunRecord, sent_at: float | None) -> bool:
    """Whether the server created the run no earlier than `sent_at`, in seconds since the epoch on its clock.

    That clock is read from `Date`, which has whole seconds, rounded down, and the answer took time to arrive: so
    the moment of a first attempt is never put too late, and a run of ours is always new.
    """
    created = _created(record)
    if created is None or sent_at is None:
        return False
    # What the server gives is rounded down as well: to seconds, milliseconds or microseconds.
    unit = 1_000_000 if created.microsecond == 0 else 1000 if created.microsecond % 1000 == 0 else 1
    return round(created.timestamp() * 1e6) >= math.floor(sent_at * 1e6) // unit * unit


def submission_unknown(
    call: Call[Any], error: LumeError | None, state: CallState, keys_kept: float | None = None
) -> SubmissionUnknownError:
    """What a submission ends with where a run may exist.

    Args:
        error: why nothing more can be found out.
        keys_kept: for how many seconds the server knows an idempotency key, where it says so.
    """
    answer = error if isinstance(error, ApiError) else None
    request, key = call.submits, call.headers.get(IDEMPOTENCY_KEY)
    assert request is not None
    reason = error.args[0] if error else "the process that sent it ended"
    unknown = SubmissionUnknownError(
        f"the answer to a submission was lost ({reason}): a run of "
        f"{request.flow_version!r} on {request.source_path!r} may exist. Look for it with "
        f"list_runs(source_path=...), or submit again with idempotency_key={key!r} {_known_for(keys_kept)}",
        idempotency_key=key,
        request=request,
        attempts=state.attempts,
        status_code=answer.status_code if answer else None,
        request_id=answer.request_id if answer else None,
    )
    unknown.__cause__ = error
    return unknown


def _known_for(keys_kept: float | None) -> str:
    if keys_kept is None:
        return "if the server knows such keys"
    time = f"{keys_kept / 3600:,.0f} hours" if keys_kept >= 7200 else f"{keys_kept:g} seconds"
    return f"while the server knows it, which is for {time}"


def _refused_by_service(error: ApiError) -> bool:
    """Whether the answer shows that no earlier attempt with the same body can have started a run.

    Only the service knows that: a gateway's own 404 says nothing about what came through it before.
    """
    return error._of_service and error.status_code in (400, 404, 413, 422)


def _created(record: RunRecord) -> datetime | None:
    try:
        return parse_time(record.raw.get("created_at"))
    except ValueError:
        return None
