"""The ledger of rejected rows: what happened to each of them, over all runs. Its values.

A rejected row is open until it is mended (accepted in an edited form), replayed (accepted as it was, by a newer
version), discarded, or superseded (its whole source was read again). It is identified by its run and its number among
the rejects of that run, as they were written. Sets of rows are integers (see `row_set`).

A corrected row that is rejected again is a row of the run on the corrected rejects; a replayed one stays a row of its
own run, with the reasons that it has now. For each source, and for each flow:

    read + added + again = accepted + filtered + open + lost + discarded + superseded
"""

from attrs import frozen

OPEN, REPLAYING, LOST = "open", "replaying", "lost"
TAKEN = ("mended", "replayed")
"""The ends of rows that were accepted."""
ENDS = (*TAKEN, "discarded", "superseded")
STATES = (OPEN, REPLAYING, LOST, *ENDS)
"""`open` are rows that nothing happens to; `replaying` those of a replay that has not ended; `lost` are open rows
whose rejects were removed, so that they can't be seen any more."""


@frozen
class RowFilter:
    """Which rejected rows are meant; None means all.

    Attributes:
        reasons: rows with one of these.
        since: of runs that ended at that time or later.
        run_id: of this run.
    """

    flow: str | None = None
    reasons: tuple[str, ...] | None = None
    since: str | None = None
    run_id: str | None = None
    state: str = OPEN


@frozen
class RowsOfRun:
    """Some rejected rows of one run.

    Attributes:
        seq: of the run.
        rows: the set of them.
        count: how many rejects the run has.
    """

    seq: int
    run_id: str
    rows: int
    count: int


@frozen
class UnendedRows:
    """A run with rows that are open or lost.

    Attributes:
        location: of its rejects; None if they were removed.
    """

    seq: int
    run_id: str
    is_lost: bool
    location: str | None


@frozen
class OpenCount:
    """The open rows of a flow with a reason; those of all reasons if that is None.

    Attributes:
        open: how many there are, also those that are replayed at the moment.
        new: how many were rejected since the time that was asked for.
        closed: how many were closed since then.
        oldest: when the first run with such rows ended.
    """

    flow: str
    reason: str | None
    open: int
    new: int
    closed: int
    oldest: str | None


@frozen
class Day:
    """How many rows of a flow were rejected and closed on the day (UTC) that begins at `day`."""

    day: str
    opened: int
    closed: int


@frozen
class LedgerAccount:
    """What became of all rows of a flow, or of one of its sources.

    Attributes:
        read: by runs that read a whole source.
        added: in corrected rejects, rows that are no rejects of their run: one that was split, for example.
        again: accepted or rejected once more, after they were closed already.
        mended: how many were closed by corrected rejects; `replayed`: by a replay. They are among other figures.
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
        """Whether no row is missing, and none counted twice."""
        ends = self.accepted + self.filtered + self.open + self.lost + self.discarded + self.superseded
        return self.read + self.added + self.again == ends


@frozen
class Claim:
    """The rows of one run that a run of rejects has: from its record `start` on.

    Attributes:
        is_edited: whether it has them in an edited form. Then all are mended when it ends, and those that it rejects
            are rows of its own; else it is a replay.
    """

    seq: int
    start: int
    rows: int
    is_edited: bool = False


Slice = tuple[tuple[int, int], ...] | None
"""Some of the rows of a run: where each part begins, from 0, and how many rows it has; None means all."""
ALL: Slice = None


@frozen
class Origin:
    """The first run on a source, and which records of a run on rejects are rows of it.

    Of a run on corrected rejects, `records` are numbers of the rejects that it corrects.
    """

    root: str
    records: Slice


@frozen
class Ending:
    """Rows of a run that were closed together: how, by which run or key, and when."""

    state: str
    by: str
    at: str
    rows: int


@frozen
class Fate:
    """What became of the rejected rows of a run: which are open and free, and which a run has that has not ended."""

    seq: int
    count: int
    free: int
    claimed: int
    endings: tuple[Ending, ...]


class Claimed(Exception):
    """Some of the rows are not open any more, or another replay has them: select again."""
