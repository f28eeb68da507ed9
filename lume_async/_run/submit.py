"""Submitting a run once: what to do about a duplicate; the rule for lost answers is `_wire/lost_answers`."""

from collections.abc import Callable
from typing import Literal, TypeAlias

from attrs import frozen

from lume_async._http.sender import Sender
from lume_async._run.poll import fetch
from lume_async._wire import endpoints
from lume_async._wire.call import CallState
from lume_async._wire.lost_answers import is_new, is_ours, submission_unknown
from lume_async.errors import ApiError, ClientClosedError, DuplicateRunError
from lume_async.models import RunRecord, RunRequest

OnDuplicate: TypeAlias = Literal["raise", "attach"]
"""What to do where a run holds the source already: raise `DuplicateRunError`, or return that run."""


@frozen
class StartedRun:
    """A run that a submission led to; `reused` where it existed before this call."""

    record: RunRecord
    reused: bool


async def submit(
    sender: Sender,
    request: RunRequest,
    key: str,
    *,
    own_key: bool,
    on_duplicate: OnDuplicate,
    state: CallState | None = None,
    timeout: float | None = None,
    is_anothers: Callable[[str], bool] = lambda _run_id: False,
) -> StartedRun:
    """Start the run, once.

    Args:
        key: the idempotency key of every attempt.
        own_key: the caller brought the key, so that it may belong to an earlier call.
        state: what an earlier process is known to have sent under this key; shows how the call has gone.
        timeout: seconds in which there has to be an answer, retries included.
        is_anothers: whether the run is known as that of another submission, so that it can't be a lost one of ours.

    Raises:
        DuplicateRunError: the source is held by another run and `on_duplicate` is "raise".
        SubmissionUnknownError: an answer was lost and sending again was not safe.
    """
    call = endpoints.submit(request, key)
    state = state or CallState()
    try:
        answer = await sender.send(call, timeout=timeout, state=state)
    except DuplicateRunError as caught:
        duplicate = caught
    except ClientClosedError as closed:
        if state.lost:
            raise submission_unknown(call, closed, state, sender.keys_kept) from closed
        raise
    else:
        remember(sender, answer.record, answer.not_before)
        replayed_ours = state.lost and is_new(answer.record, sent_at(sender, state))
        return StartedRun(answer.record, reused=own_key and answer.replayed and not replayed_ours)
    if not state.lost and (on_duplicate == "raise" or duplicate.run_id is None):
        raise duplicate
    if duplicate.run_id is None:  # it may be ours, and nobody says which it is
        raise submission_unknown(call, duplicate, state, sender.keys_kept)
    try:
        holder = await fetch(sender, duplicate.run_id)
    except (ApiError, ClientClosedError) as caught:
        if not state.lost:
            raise
        unseen = caught
    else:
        ours = state.lost and is_ours(holder, request, sent_at(sender, state)) and not is_anothers(holder.id)
        if ours:
            remember(sender, holder)
        if ours or on_duplicate == "attach":
            return StartedRun(holder, reused=not ours)
        raise duplicate
    raise submission_unknown(call, unseen, state, sender.keys_kept)


def remember(sender: Sender, run: RunRecord, not_before: float = 0.0) -> None:
    """A run of our own, seen for the first time."""
    sender.recent_runs.add(run.id, not_before)
    sender.observer.status_changed(run.id, None, run.status)


def sent_at(sender: Sender, state: CallState) -> float | None:
    """When the submission was first sent, on the server's wall clock."""
    if state.sent_at is not None:
        return state.sent_at
    return None if state.first_sent is None else sender.server_time(state.first_sent)


def check_on_duplicate(choice: object) -> None:
    """Refuse what is neither "raise" nor "attach" before anything is sent.

    Raises:
        ValueError: it is neither.
    """
    if choice not in ("raise", "attach"):
        raise ValueError(f"on_duplicate must be 'raise' or 'attach', not {choice!r:.60}")
