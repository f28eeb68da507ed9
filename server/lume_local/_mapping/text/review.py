"""A person's decisions in words, for the comments of a proposal's file. Pure.

They contain no value of the sample, so the file may go where the sample may not.
"""

from collections.abc import Iterator, Mapping, Sequence

from lume_local._mapping.decisions import APPROVED, FLAGGED, NOTHING, ColumnDecision
from lume_local._mapping.proposal import ColumnProposal


def is_left_open(column: ColumnProposal, decision: ColumnDecision) -> bool:
    """Return whether a person has left the column without a source."""
    return column.chosen is None and (decision.is_open or decision.review == APPROVED)


def marks(column: ColumnProposal, decision: ColumnDecision) -> Iterator[str]:
    """Yield the decisions about one column."""
    end = "" if decision.note.endswith((".", "?", "!")) else "."
    note = f" {decision.note}{end}" if decision.note else ""
    if decision.review == FLAGGED:
        yield f"FLAGGED.{note}"
    if is_left_open(column, decision):
        yield "Left open by a person." + (note if decision.review != FLAGGED else "")
    elif decision.review == APPROVED:
        yield f"Approved.{note}"
    if decision.sources:
        yield "Chosen by a person."


def reviewed(columns: Sequence[ColumnProposal], decisions: Mapping[str, ColumnDecision]) -> Iterator[str]:
    """Yield the progress of the review; nothing if there was none."""
    if not any(one.review for one in decisions.values()):
        return
    found: dict[str, list[str]] = {}
    for column in columns:
        decision = decisions.get(column.name, NOTHING)
        found.setdefault(_state(column, decision), []).append(column.name)
    for state in ("approved", "flagged", "left open", "not reviewed"):
        if names := found.get(state):
            yield f"{state.capitalize()}: {', '.join(names)}."


def _state(column: ColumnProposal, decision: ColumnDecision) -> str:
    if decision.review == FLAGGED:
        return "flagged"
    if is_left_open(column, decision):
        return "left open"
    return "approved" if decision.review == APPROVED else "not reviewed"
