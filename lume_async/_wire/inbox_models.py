"""Rejected rows of many runs as the server reports them: the inbox, and replays. Data only."""

from datetime import datetime
from typing import Literal, TypeAlias, get_args

from attrs import field, frozen

from lume_async._base.public import public

RowState: TypeAlias = Literal["open", "replaying", "lost", "mended", "replayed", "discarded", "superseded"]
"""What has happened to a rejected row. `open`: nothing; `lost`: nothing, but its output was removed."""
ROW_STATES: tuple[str, ...] = get_args(RowState)


@public
@frozen
class RowAccount:
    """What became of all rows of a flow.

    `read + added + again == accepted + filtered + open + lost + discarded + superseded`

    Attributes:
        read: the number of rows read by runs on whole sources.
        added: rows of corrected rejects that were not rejected before, such as those of a row that was split in two.
        again: rows that were processed once more after they were closed.
        lost: open rows whose output was removed.
        superseded: open rows whose source was read again as a whole.
        mended: how many rows were accepted in an edited form. They are among the others.
        replayed: how many were accepted as they were by a replay. They are among the others.
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
    """How many rows of a flow were rejected and closed on the day (UTC) that begins at `day`."""

    day: datetime
    opened: int
    closed: int


@public
@frozen
class InboxFlow:
    """The open rejected rows of a flow. It is listed, too, if none is open, but rows are lost (`account.lost`).

    Attributes:
        open: their number, including those in a replay that has not ended.
        new: how many rows were rejected since `Inbox.since`.
        closed: how many rows were closed since then.
        oldest: when the first run with open rows ended.
        days: the days since then.
        replays: the IDs of the replays that have not ended.
    """

    flow: str
    open: int
    new: int
    closed: int
    account: RowAccount
    oldest: datetime | None = None
    days: list[InboxDay] = field(factory=list)
    replays: list[str] = field(factory=list)


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
    """The open rejected rows of all runs, by flow, and by flow and reason; those with most rows first.

    Attributes:
        since: the time that new and closed rows are counted from, to the day.
    """

    since: datetime
    flows: list[InboxFlow]
    items: list[InboxItem]


@public
@frozen
class UnreadableRows:
    """Rejected rows that can't be read: how many, of which run, and why."""

    run_id: str
    rows: int
    kind: str
    problem: str


@public
@frozen
class ReplayReason:
    """How many of the rows with this reason a replay would accept."""

    reason: str
    rows: int
    passed: int


@public
@frozen
class Replay:
    """A replay of rejected rows, or with `dry_run` what it would do.

    Attributes:
        flow: the name of the flow.
        to: the flow version that judges the rows.
        rows: the number of rows.
        run_ids: the runs that process them: `wait_all(replay.run_ids)` waits for them.
        replaying: the IDs of earlier replays that have not ended; their rows are not in this one.
        unreadable: rows that match and can't be read. They are not replayed.
        passed: of a dry run, how many of the rows would be accepted; else None.
        reasons: of a dry run, the reasons that the rows have now.
        rejected_for: of a dry run, the reasons of the rows that would be rejected again, and how many they are.
        messages: of a dry run, why a run would fail.
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
