"""Submitting once: what to do about a duplicate, and how to know our own run again.

The whole decision, with `Sender.send`, for an attempt whose answer was lost:

    ==================  =====================  ===================================================
    `force_rerun`       server                 then
    ==================  =====================  ===================================================
    False               any                    send again, same key; a 409 is looked into, see below
    True                knows keys             send again, same key: it replays its first answer
    True                does not, or unknown   `SubmissionUnknownError`: a second send could be a second run
    ==================  =====================  ===================================================

A 409 to a resend names a run. It is ours if the server made it no earlier than our first attempt and it holds
our `run_metadata`; any other is a duplicate.
"""

import math
from datetime import datetime
from typing import Literal, TypeAlias

from attrs import frozen

from lume_async._decoding import parse_time
from lume_async._http.sender import Sender
from lume_async._wire import endpoints
from lume_async._wire.reading import Sending, submission_unknown
from lume_async.errors import ApiError, ClientClosedError, DuplicateRunError, InvalidRequestError
from lume_async.models import RunRecord, RunRequest

OnDuplicate: TypeAlias = Literal["raise", "attach"]
"""What to do where a run holds the source already: raise `DuplicateRunError`, or return that run."""

LONGEST_KEY = 255


@frozen
class Submission:
    """A submitted run; `reused` where it existed before this call."""

    record: RunRecord
    reused: bool


async def submit(
    sender: Sender,
    request: RunRequest,
    key: str,
    *,
    own_key: bool,
    on_duplicate: OnDuplicate,
    sending: Sending | None = None,
    timeout: float | None = None,
) -> Submission:
    """Start the run, once.

    Args:
        key: the idempotency key of every attempt.
        own_key: the caller brought the key, so that it may belong to an earlier call.
        sending: what an earlier process is known to have sent under this key.
        timeout: seconds in which there has to be an answer, retries included.

    Raises:
        DuplicateRunError: the source is held by another run and `on_duplicate` is "raise".
        SubmissionUnknownError: an answer was lost and sending again was not safe.
    """
    call = endpoints.submit(request, key)
    sending = sending or Sending()
    sending.dated = True
    try:
        answer = await sender.send(call, timeout=timeout, sending=sending)
    except DuplicateRunError as caught:
        duplicate = caught
    except ClientClosedError as closed:
        if sending.lost:
            raise submission_unknown(call, closed, sending) from closed
        raise
    else:
        sender.submitted(answer.record, answer.not_before)
        older = own_key and answer.replayed and not (sending.lost and _is_new(answer.record, sending, sender))
        return Submission(answer.record, reused=older)
    if duplicate.run_id is None and sending.lost:  # it may be ours, and nobody says which it is
        raise submission_unknown(call, duplicate, sending)
    if duplicate.run_id is None or not (sending.lost or on_duplicate == "attach"):
        raise duplicate
    try:
        holder = await _fetch(sender, duplicate.run_id)
    except (ApiError, ClientClosedError) as caught:
        if not sending.lost:
            raise
        unseen = caught
    else:
        ours = sending.lost and is_ours(holder, request, sending, sender)
        if ours:
            sender.submitted(holder)
        if ours or on_duplicate == "attach":
            return Submission(holder, reused=not ours)
        raise duplicate
    raise submission_unknown(call, unseen, sending)


def is_ours(record: RunRecord, request: RunRequest, sending: Sending, sender: Sender) -> bool:
    """Whether a run can only be the one that a lost submission of ours has made."""
    same = (record.raw.get("run_metadata") or None) == (request.run_metadata or None)
    return same and _is_new(record, sending, sender)


def check_key(key: str) -> str:
    """The caller's idempotency key, if it may travel in a header.

    Raises:
        InvalidRequestError: it may not.
    """
    if (
        isinstance(key, str)
        and key.strip()
        and key.isascii()
        and key.isprintable()
        and len(key) <= LONGEST_KEY
    ):
        return key
    raise InvalidRequestError(
        f"idempotency_key must be 1 to {LONGEST_KEY} printable ASCII characters: nothing was sent"
    )


def check_on_duplicate(choice: object) -> None:
    """Refuse what is neither "raise" nor "attach" before anything is sent.

    Raises:
        ValueError: it is neither.
    """
    if choice not in ("raise", "attach"):
        raise ValueError(f"on_duplicate must be 'raise' or 'attach', not {choice!r}")


async def _fetch(sender: Sender, run_id: str) -> RunRecord:
    polled = await sender.send(endpoints.status(run_id))
    assert polled.record is not None  # no ETag was sent
    return polled.record


def _is_new(record: RunRecord, sending: Sending, sender: Sender) -> bool:
    """Whether the server made the run no earlier than our first attempt, by the server's own clock.

    `Date` has whole seconds, rounded down, and the answer took time to arrive: so the moment of our first
    attempt is never put too late, and a run of ours is always new.
    """
    created = _created(record)
    if created is None or sending.first_sent is None:
        return False
    offset = sending.server_offset
    if offset is None:  # no Date came: the two clocks have to agree
        offset = sender.clock.wall() - sender.clock.now()
    first = sending.first_sent + offset
    if created.microsecond == 0:  # this server tells whole seconds, rounded down as well
        first = math.floor(first)
    return created.timestamp() >= first


def _created(record: RunRecord) -> datetime | None:
    try:
        return parse_time(record.raw.get("created_at"))
    except ValueError:
        return None
