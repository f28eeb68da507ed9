"""Drafts: rejected rows that a person edits, before they are submitted. Their values.

A draft belongs to a flow and an owner, which is the name of a key or of a token. It has the cells that differ from
the rejects; these are not copied. Whether a row is still open, the ledger knows: a draft is never told. So nothing
has to be kept in step, whatever is killed.

Every change has a number, its revision. Whoever changes a row names the revision that they have seen; if another tab
has changed the row since, that change is kept, and theirs is refused.
"""

from collections.abc import Mapping

from attrs import frozen

Cells = Mapping[str, str | None]
"""What an edited row has instead, by column; None is no value."""
ROW_BYTES = 100
"""What a row counts besides its cells."""


@frozen
class Reject:
    """A rejected row: its run, and its number among the rejects, from 0."""

    run_id: str
    row: int


@frozen
class DraftRow:
    """An edited row.

    Attributes:
        rev: of its last change.
        judged_by: the flow version that has judged it as it is now; None if none has.
        reasons: why that would reject it; empty if it would accept it.
    """

    reject: Reject
    cells: Cells
    rev: int
    judged_by: str | None = None
    reasons: tuple[str, ...] = ()


@frozen
class RowChange:
    """A change of a row: its cells, None to take it out of the draft; `seen` is the revision known, 0 for none."""

    reject: Reject
    cells: Cells | None
    seen: int


@frozen
class Judgement:
    """What a flow version says about a row of that revision."""

    reject: Reject
    rev: int
    reasons: tuple[str, ...]


@frozen
class RowDraft:
    """A draft without its rows.

    Attributes:
        draft_id: no other draft has it, also not a later one of the same owner.
        rev: of the last change.
        bytes: how much it counts.
    """

    draft_id: str
    rev: int
    rows: int
    bytes: int
    changed_at: str


@frozen
class Saved:
    """What came of changes.

    Attributes:
        revs: of the rows that were changed.
        refused: rows that had been changed by others since, as they are; None for one that was taken out.
    """

    draft: RowDraft
    revs: dict[Reject, int]
    refused: dict[Reject, DraftRow | None]


@frozen
class Elsewhere:
    """A row that is in the draft of somebody else, too."""

    reject: Reject
    owner: str
    at: str


@frozen
class Room:
    """How many bytes of drafts an owner may have, and all owners together."""

    of_owner: int
    of_all: int


class DraftFull(Exception):
    """The drafts of the owner, or `of_all` owners, have reached their limit; nothing was changed."""

    def __init__(self, limit: int, *, of_all: bool) -> None:
        super().__init__(limit)
        self.limit, self.of_all = limit, of_all
