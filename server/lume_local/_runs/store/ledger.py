"""The values of the ledger of rejected rows: the fate of each row, over all runs.

A rejected row is open until it is mended (accepted in an edited form), replayed (accepted as it was, by a newer
version), discarded, or superseded (its whole source was read again). It is identified by its run and its number among
the rejects of that run, in the order of writing. Sets of rows are integers (see `row_set`).

A corrected row that is rejected again is a row of the run on the corrected rejects; a replayed one stays a row of its
own run, with its new reasons. For each source, and for each flow:

    read + added + again = accepted + filtered + open + lost + discarded + superseded
"""

from collections.abc import Sequence
from typing import NamedTuple

from attrs import frozen

from lume_local._shared.row_set import all_rows, placed

OPEN, REPLAYING, LOST = "open", "replaying", "lost"
ASSIGNED = "assigned"
"""The mark of open rows that somebody works on, or has commented on: they are stored like rows with an end."""
TAKEN = ("mended", "replayed")
"""The ends of accepted rows."""
ENDS = (*TAKEN, "discarded", "superseded")
STATES = (OPEN, REPLAYING, LOST, *ENDS)
"""Open rows are `open` while nothing happens to them, `replaying` while a replay has them, and `lost` once their
rejects were removed, so that they can no longer be read."""


@frozen
class RowFilter:
    """Selects rejected rows; None means all.

    Attributes:
        reasons: rows with one of these.
        since: rows of runs that ended at that time or later.
        assignee: open rows of this person.
    """

    flow: str | None = None
    reasons: tuple[str, ...] | None = None
    since: str | None = None
    run_id: str | None = None
    state: str = OPEN
    assignee: str | None = None


@frozen
class RowsOfRun:
    """Some rejected rows of one run.

    Attributes:
        seq: the sequence number of the run.
        count: how many rejects the run has.
    """

    seq: int
    run_id: str
    rows: int
    count: int


class UnendedRows(NamedTuple):
    """A run with rows that are open or lost.

    Attributes:
        location: the location of its rejects; None if they were removed.
    """

    seq: int
    run_id: str
    is_lost: bool
    location: str | None


class OpenCount(NamedTuple):
    """The open rows of a flow with a reason, or with any reason if that is None.

    Attributes:
        open: how many there are, including rows that are being replayed.
        new: how many were rejected since the requested time.
        closed: how many were closed since then.
        oldest: when the first run with such rows ended.
    """

    flow: str
    reason: str | None
    open: int
    new: int
    closed: int
    oldest: str | None


class Day(NamedTuple):
    """How many rows of a flow were rejected and closed on the day (UTC) that begins at `day`."""

    day: str
    opened: int
    closed: int


class LedgerAccount(NamedTuple):
    """The account of all rows of a flow, or of one of its sources.

    Attributes:
        read: rows read by runs on a whole source.
        added: rows in corrected rejects that are no rejects of their run, for example because one was split.
        again: rows accepted or rejected again after they were closed.
        mended: rows closed by corrected rejects, which other figures include; likewise `replayed`, closed by a
            replay.
    """

    read: int = 0
    added: int = 0
    again: int = 0
    accepted: int = 0
    filtered: int = 0
    open: int = 0
    lost: int = 0
    discarded: int = 0
    superseded: int = 0
    mended: int = 0
    replayed: int = 0

    @property
    def closes(self) -> bool:
        """Whether no row is missing or counted twice."""
        ends = self.accepted + self.filtered + self.open + self.lost + self.discarded + self.superseded
        return self.read + self.added + self.again == ends


class Claim(NamedTuple):
    """The rows of one run that a run on rejects has claimed, from its record `start` on.

    Attributes:
        is_edited: whether the rows are in an edited form. If so, all are mended when it ends, and rows that it
            rejects become its own; otherwise it is a replay.
    """

    seq: int
    start: int
    rows: int
    is_edited: bool = False

    def own(self, records: int) -> int:
        """Return the rows that these records of the run stand for."""
        return placed((records >> self.start) & all_rows(self.rows.bit_count()), self.rows)


def records_in(claims: Sequence[Claim]) -> int:
    return sum(claim.rows.bit_count() for claim in claims)


Slice = tuple[tuple[int, int], ...] | None
"""Some of a run's rows: the start of each part, from 0, and its number of rows; None means all."""
ALL: Slice = None


class Origin(NamedTuple):
    """The first run on a source, and the records of a run on rejects that are rows of this source.

    For a run on corrected rejects, `records` are the numbers of these rejects.
    """

    root: str
    records: Slice


class Ending(NamedTuple):
    """Rows of a run that were closed together: how, by which run or key, and when."""

    state: str
    by: str
    at: str
    rows: int


@frozen
class Fate:
    """The fate of a run's rejected rows: `free` ones are open and unclaimed, `claimed` ones are in an unended run."""

    seq: int
    count: int
    free: int
    claimed: int
    endings: tuple[Ending, ...]


class Assignment(NamedTuple):
    """Who works on rows, and a comment on them; either may be empty."""

    assignee: str
    comment: str


class Claimed(Exception):
    """Some of the rows are no longer open, or another replay has them: select again."""
