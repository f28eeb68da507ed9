"""Rejected rows of many runs as the server reports them: the inbox, and replays. Data only."""

from datetime import datetime
from typing import Literal, TypeAlias, get_args

from attrs import field, frozen

from lume_async._base.public import public

RowState: TypeAlias = Literal["open", "replaying", "lost", "mended", "replayed", "discarded", "superseded"]
"""The state of a rejected row. `open`: nothing has happened; `lost`: nothing, but its output was removed."""
ROW_STATES: tuple[str, ...] = get_args(RowState)


@public
@frozen
class RowAccount:
    """The fate of all rows of a flow.

    `read + added + again == accepted + filtered + open + lost + discarded + superseded`

    Attributes:
        read: the number of rows read by runs on whole sources.
        added: rows of corrected rejects that were not rejected before, such as the halves of a row split in two.
        again: rows that were processed once more after they were closed.
        lost: open rows whose output was removed.
        superseded: open rows whose source was read again as a whole.
        mended: the number of rows accepted in an edited form, which are included in the other counts.
        replayed: the number of rows accepted unchanged by a replay, which are included in the other counts.
        closes: whether both sides are equal; otherwise the server has a bug.
    """

    read: int
    added: int
    again: int
    accepted: int
    filtered: int
    open: int
    lost: int
    discarded: int
    superseded: int
    mended: int
    replayed: int
    closes: bool


@public
@frozen
class InboxDay:
    """The numbers of a flow's rows rejected and closed on the day (UTC) that begins at `day`."""

    day: datetime
    opened: int
    closed: int


@public
@frozen
class InboxAssignment:
    """How many open rows of a flow with one reason a person has."""

    assignee: str
    reason: str
    open: int


@public
@frozen
class InboxSubmission:
    """The number of rows that `owner` has corrected, and that wait for another person's approval since `at`.

    Attributes:
        rev: the revision of the owner's draft; an approval names it.
        to: the flow version that accepts the rows.
        reason: the reason whose rows were submitted; None: all reasons.
    """

    owner: str
    rev: int
    to: str
    rows: int
    at: datetime
    reason: str | None = None


@public
@frozen
class InboxFlow:
    """The open rejected rows of a flow, which is also listed if no row is open but some are lost (`account.lost`).

    Attributes:
        open: their number, including rows in a replay that has not ended.
        new: how many rows were rejected since `Inbox.since`.
        closed: how many rows were closed since then.
        oldest: when the first run with open rows ended.
        days: the days since then.
        replays: the IDs of the replays that have not ended.
        assigned: the open rows of each person, by reason.
        submissions: the corrected rows that wait for approval.
    """

    flow: str
    open: int
    new: int
    closed: int
    account: RowAccount
    oldest: datetime | None = None
    days: list[InboxDay] = field(factory=list)
    replays: list[str] = field(factory=list)
    assigned: list[InboxAssignment] = field(factory=list)
    submissions: list[InboxSubmission] = field(factory=list)


@public
@frozen
class InboxItem:
    """The open rejected rows of a flow with one reason. See `InboxFlow`; a row may have several reasons."""

    flow: str
    reason: str
    open: int
    new: int
    closed: int
    oldest: datetime | None = None


@public
@frozen
class Inbox:
    """The open rejected rows of all runs, by flow, and by flow and reason; the largest counts first.

    Attributes:
        since: the day from which new and closed rows are counted.
    """

    since: datetime
    flows: list[InboxFlow]
    items: list[InboxItem]


@public
@frozen
class UnreadableRows:
    """Rejected rows that can't be read: their number, their run, and the cause."""

    run_id: str
    rows: int
    kind: str
    problem: str


@public
@frozen
class ReplayReason:
    """The number of rows with this reason that a replay would accept."""

    reason: str
    rows: int
    passed: int


@public
@frozen
class Replay:
    """A replay of rejected rows, or with `dry_run` its preview.

    Attributes:
        flow: the name of the flow.
        to: the flow version that judges the rows.
        rows: the number of rows.
        run_ids: the runs that process them: `wait_all(replay.run_ids)` waits for them.
        replaying: the IDs of earlier replays that have not ended; their rows are not in this one.
        unreadable: matching rows that can't be read. They are not replayed.
        passed: the number of rows that would be accepted, for a dry run; else None.
        reasons: the present reasons of the rows, for a dry run.
        rejected_for: the reasons of the rows that would be rejected again, with their numbers, for a dry run.
        messages: why a run would fail, for a dry run.
    """

    flow: str
    to: str
    rows: int
    run_ids: list[str] = field(factory=list)
    replaying: list[str] = field(factory=list)
    unreadable: list[UnreadableRows] = field(factory=list)
    passed: int | None = None
    reasons: list[ReplayReason] = field(factory=list)
    rejected_for: dict[str, int] = field(factory=dict)
    messages: list[str] = field(factory=list)
