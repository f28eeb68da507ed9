"""Submits a run once and handles duplicates; the rule for lost answers is in `_wire/lost_answers`."""

from collections.abc import Callable
from typing import Literal, TypeAlias

from attrs import frozen

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._run.poll import fetch
from lume_async._wire.call import CallState
from lume_async._wire.lost_answers import is_new, is_ours, submission_unknown
from lume_async._wire.service import check_carried
from lume_async.errors import ApiError, ClientClosedError, DuplicateRunError, RunNotFoundError
from lume_async.models import RunRecord, RunRequest

OnDuplicate: TypeAlias = Literal["raise", "attach"]
"""The reaction if a run already holds the source: raise `DuplicateRunError`, or return that run unless the source has
changed since.
"""


@frozen
class StartedRun:
    """The run of a submission.

    Attributes:
        reused: whether it existed before this call.
        key: the idempotency key that was sent; None for a run that was found without a submission.
    """

    record: RunRecord
    reused: bool
    key: str | None = None


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
        own_key: whether the caller chose the key, so that it may belong to an earlier call.
        state: the attempts that an earlier process has sent with this key; updated by this call.
        timeout: seconds for the answer, retries and the look at a duplicate included.
        is_anothers: whether a run is known to belong to another submission.

    Raises:
        DuplicateRunError: the source is held by another run, and `on_duplicate` is "raise" or the source was changed
            since that run read it.
        SubmissionUnknownError: the answer was lost and sending it again was not safe: a run may exist.
    """
    check_carried(sender.service, request, attaches=on_duplicate == "attach")
    call = sender.service.submit(request, key)
    state = state or CallState()
    ends = None if timeout is None else sender.clock.now() + timeout
    try:
        answer = await sender.send(call, timeout=timeout, state=state)
    except DuplicateRunError as caught:
        duplicate = caught
        attaches = on_duplicate == "attach" and not caught.source_changed
    except ClientClosedError as closed:
        if state.lost:
            raise submission_unknown(call, closed, state, sender.known.promises) from closed
        raise
    else:
        remember(sender, answer.record, answer.not_before, None if answer.replayed else state.first_sent)
        replayed_ours = state.lost and is_new(answer.record, sender.sent_at(state))
        return StartedRun(answer.record, own_key and answer.replayed and not replayed_ours, key)
    has_our_name = sender.service.promises.names_runs and duplicate.run_id == key
    if not state.lost and not has_our_name and (not attaches or duplicate.run_id is None):
        raise duplicate
    if duplicate.run_id is None:  # it may be our own run, but its ID is not known
        raise submission_unknown(call, duplicate, state, sender.known.promises)
    try:
        left = None if ends is None else max(0.0, ends - sender.clock.now())
        holder = await fetch(sender, duplicate.run_id, left)
    except (ApiError, ClientClosedError) as caught:
        if has_our_name and isinstance(caught, RunNotFoundError) and caught._of_service:
            duplicate.run_id = None  # there is no such run: it was refused for another reason
            raise duplicate from None
        if not state.lost and not has_our_name:
            raise
        unseen = caught
    else:
        if has_our_name:
            remember(sender, holder)
            is_earlier = not (state.lost and is_new(holder, sender.sent_at(state)))
            return StartedRun(holder, own_key and is_earlier, key)
        ours = state.lost and is_ours(holder, request, sender.sent_at(state)) and not is_anothers(holder.id)
        if ours:
            remember(sender, holder)
        if ours or attaches:
            return StartedRun(holder, not ours, key)
        raise duplicate
    raise submission_unknown(call, unseen, state, sender.known.promises)


def remember(sender: Sender, run: RunRecord, not_before: float = 0.0, sent: float | None = None) -> None:
    """Note a run that this client has started, with the arguments of `RecentRuns.add`."""
    sender.recent_runs.add(run.id, not_before, sent=sent)
    sender.observer.status_changed(run.id, None, run.status)


def check_on_duplicate(choice: object) -> None:
    """Raise `ValueError` unless the choice is "raise" or "attach"."""
    arguments.choice(choice, "on_duplicate", ("raise", "attach"))
