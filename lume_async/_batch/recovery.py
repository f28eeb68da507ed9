"""What to do about an item whose process ended between sending and knowing. Pure."""

from enum import Enum, auto

from attrs import frozen

from lume_async.errors import ApiError
from lume_async.models import RunRecord


@frozen
class Found:
    """What the server's list of runs says of a submission.

    Attributes:
        run: the run that it has started, if exactly one can be that.
        is_clear: whether `run` is the answer: with None, there is no such run, or this server has no list. Else
            nothing follows: there were several such runs, one that is hardly older than the submission, or too
            many to read, or the request failed.
        failure: why the list could not be read.
    """

    run: RunRecord | None
    is_clear: bool
    failure: ApiError | None = None


class Next(Enum):
    """What is to be done about the item."""

    FOLLOW = auto()
    """The run that was found is the item's."""
    ASK_BY_KEY = auto()
    """Send it again with the same key: the server answers with the run of that key, or starts it."""
    SUBMIT = auto()
    """No run exists: submit it."""
    GIVE_UP = auto()
    """A run may exist, and nothing tells which: a `SubmissionUnknownError`."""


def next_step(found: Found, *, key_is_kept: bool, has_twin: bool, may_submit: bool) -> Next:
    """The next step, by what the list says, and the key where the list leaves something open.

    Args:
        found: what the list says.
        key_is_kept: the server says for how long it keeps keys, and has this one still.
        has_twin: another item was under way and asks for the same, so that the run may be that one's.
        may_submit: by the rule of lost answers it can be sent again where no run was found.
    """
    is_open = not found.is_clear or (found.run is not None and has_twin)
    if is_open and key_is_kept:
        return Next.ASK_BY_KEY
    if found.run is not None:
        return Next.FOLLOW
    return Next.SUBMIT if found.is_clear and may_submit else Next.GIVE_UP
