"""The values of drafts: rejected rows that a person edits before they are submitted.

A draft belongs to a flow and an owner, which is the name of a key or of a token. It has the cells that differ from
the rejects; the rejects are not copied. Only the ledger knows whether a row is still open, so nothing can get out of
step, even if a process is killed.

Every change has a number, its revision. A change names the revision of the row that its author has seen. If another
tab has changed the row since, that change is kept, and this one is refused.
"""

from collections.abc import Mapping
from typing import NamedTuple

Cells = Mapping[str, str | None]
"""The replacement cells of an edited row, by column; None is no value."""
ROW_BYTES = 100
"""The size that a row counts in addition to its cells."""


class Reject(NamedTuple):
    """A rejected row: its run, and its number among the rejects, from 0."""

    run_id: str
    row: int


class DraftRow(NamedTuple):
    """An edited row.

    Attributes:
        rev: the revision of its last change.
        judged_by: the flow version that has judged its current form; None if none has.
        reasons: why that version would reject it; empty if it would accept it.
    """

    reject: Reject
    cells: Cells
    rev: int
    judged_by: str | None = None
    reasons: tuple[str, ...] = ()


class RowChange(NamedTuple):
    """A change of a row: its cells, None to take it out of the draft; `seen` is the revision known, 0 for none."""

    reject: Reject
    cells: Cells | None
    seen: int


class Judgement(NamedTuple):
    """A flow version's verdict on this revision of a row."""

    reject: Reject
    rev: int
    reasons: tuple[str, ...]


class RowDraft(NamedTuple):
    """A draft without its rows.

    Attributes:
        draft_id: unique among all drafts, including later ones of the same owner.
        rev: the revision of the last change.
        bytes: its size for the limits.
    """

    draft_id: str
    rev: int
    rows: int
    bytes: int
    changed_at: str


class Saved(NamedTuple):
    """The result of changes.

    Attributes:
        revs: the revisions of the changed rows.
        refused: the current form of rows that others have changed since; None for one that was taken out.
    """

    draft: RowDraft
    revs: dict[Reject, int]
    refused: dict[Reject, DraftRow | None]


WAITING, APPROVED, SENT_BACK = "waiting", "approved", "sent_back"


class Submission(NamedTuple):
    """The submitted rows of a draft in a flow that asks for a second person's approval.

    Attributes:
        rev: the revision of the draft; a later change makes it void.
        to: the flow version that accepts the rows.
        reason: only rows that were rejected for it; None: for any reason.
        rows: how many rows it had.
        state: `WAITING`, `APPROVED` or `SENT_BACK`.
        reviewer: who has approved it or sent it back.
    """

    owner: str
    rev: int
    to: str
    reason: str | None
    rows: int
    at: str
    state: str = WAITING
    reviewer: str = ""
    comment: str = ""


class Review(NamedTuple):
    """Another person's answer to the submission that a draft's owner has made of this revision."""

    owner: str
    rev: int
    by: str
    state: str
    comment: str


class DraftChanged(Exception):
    """The draft is not the one that was to be submitted or approved."""


class Elsewhere(NamedTuple):
    """A row that is also in somebody else's draft."""

    reject: Reject
    owner: str
    at: str


class Room(NamedTuple):
    """The maximum bytes of drafts, for one owner and for all owners together."""

    of_owner: int
    of_all: int


class DraftFull(Exception):
    """The drafts of the owner, or `of_all` owners, have reached their limit; nothing was changed."""

    def __init__(self, limit: int, *, of_all: bool) -> None:
        super().__init__(limit)
        self.limit, self.of_all = limit, of_all
