"""Decides what to do about an item whose process ended between sending and the response. Pure."""

from enum import Enum, auto

from attrs import frozen

from lume_async.errors import ApiError
from lume_async.models import RunRecord


@frozen
class Found:
    """The result of looking a submission up in the server's list of runs.

    Attributes:
        run: the run that it started, if there is exactly one candidate.
        is_clear: whether `run` is certain; if so, None means no such run exists, or this server has no list.
            Otherwise nothing is certain: there are several candidates, one slightly older than the submission, or
            too many to read, or the request failed.
        failure: the error that prevented reading the list.
    """

    run: RunRecord | None
    is_clear: bool
    failure: ApiError | None = None


class Next(Enum):
    """The next step for the item."""

    FOLLOW = auto()
    """Follow the run that was found."""
    ASK_BY_KEY = auto()
    """Send it again with the same key: the server returns the run of that key, or starts one."""
    SUBMIT = auto()
    """No run exists: submit it."""
    GIVE_UP = auto()
    """A run may exist but can't be identified: `SubmissionUnknownError`."""


def next_step(found: Found, *, key_is_kept: bool, has_twin: bool, may_submit: bool) -> Next:
    """Choose the next step by the list, or by the idempotency key if the list is not clear.

    Args:
        key_is_kept: the server announces how long it keeps keys, and still has this one.
        has_twin: another item under way has the same request, so the run may be that item's.
        may_submit: the rules for lost responses allow sending it again if no run was found.
    """
    is_open = not found.is_clear or (found.run is not None and has_twin)
    if is_open and key_is_kept:
        return Next.ASK_BY_KEY
    if found.run is not None:
        return Next.FOLLOW
    return Next.SUBMIT if found.is_clear and may_submit else Next.GIVE_UP
