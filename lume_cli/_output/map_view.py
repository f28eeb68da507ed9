"""A proposal, shown in a terminal."""

from collections import Counter
from collections.abc import Iterator

from lume_async._base.words import counted
from lume_cli._output.text import columns, visible
from lume_local import ProposedFlow

_LONGEST = 40


def summary(proposal: ProposedFlow) -> list[str]:
    """A line for each target column: its source, its grade, and a value before and after; then what is left."""
    rows = [("TARGET", "SOURCE", "GRADE", "BEFORE", "AFTER"), *_rows(proposal)]
    lines = columns(rows)
    grades = Counter(column.chosen.grade.value for column in proposal.columns if column.chosen)
    mapped = ", ".join(f"{count} {grade}" for grade, count in grades.items())
    total = counted(len(proposal.columns), "column")
    lines.append(f"{sum(grades.values())} of {total} mapped" + (f": {mapped}" if mapped else ""))
    if proposal.unused:
        lines.append(f"not read: {', '.join(map(visible, proposal.unused))}")
    doubts = [*proposal.doubts]
    for column in proposal.columns:
        doubts += [f"{column.name}: {doubt}" for doubt in (column.chosen.doubts if column.chosen else ())]
    return [*lines, *(f"decide: {visible(doubt)}" for doubt in doubts)]


def _rows(proposal: ProposedFlow) -> Iterator[tuple[str, ...]]:
    for column in proposal.columns:
        chosen = column.chosen
        if chosen is None:
            yield column.name, "-", "unmapped", "", ""
            continue
        first = chosen.values[0] if chosen.values else None
        before = _short(first.before) if first else ""
        after = ("rejected" if first.after is None else _short(first.after)) if first else ""
        yield column.name, _short(" + ".join(chosen.sources)), chosen.grade.value, before, after


def _short(text: str | None) -> str:
    shown = visible(text or "")
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
