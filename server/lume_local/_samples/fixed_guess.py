"""Guesses the columns of a fixed-width text from the blanks at the same places of its lines. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from attrs import frozen

from lume_async._base.words import listed
from lume_local._samples.infer import is_typed

_LEAST_LINES = 3
_ALIKE = 0.9
"""Share of lines that must be of one length, or have several blanks in a row."""


@frozen
class FixedColumns:
    """Columns by their first and last characters, counted from 1.

    Attributes:
        has_header: whether the first line names them.
        trimmed: whether blanks at the end of lines are missing.
    """

    spans: dict[str, list[int]]
    has_header: bool
    trimmed: bool

    @property
    def source(self) -> dict[str, object]:
        """The flow's `[source]`."""
        fixed: dict[str, object] = {"columns": self.spans}
        if self.trimmed:
            fixed["trimmed"] = True
        header: dict[str, object] = {"header": {"row": 1}} if self.has_header else {}
        return {"format": "fixed", "fixed": fixed, **header}

    @property
    def doubts(self) -> list[str]:
        """What to check."""
        shown = listed([f"{name} {first}-{last}" for name, (first, last) in self.spans.items()], 5, str)
        named = " (named by the first line)" if self.has_header else ""
        return [
            f"it has no delimiter, but blanks at the same places: read as columns of fixed width{named}, "
            f"{shown}: compare with its description, as a longer value may begin in the blanks before it"
        ]


def fixed_columns(lines: Sequence[str]) -> FixedColumns | None:
    """Return the columns of these first lines; None if they do not look like fixed width."""
    texts = [text for line in lines if (text := line.rstrip("\r\n")).strip()]
    if len(texts) < _LEAST_LINES or any("\t" in text for text in texts):
        return None
    width = max(map(len, texts))
    is_even = sum(len(text) == width for text in texts) >= _ALIKE * len(texts)
    is_spaced = sum("  " in text.strip() for text in texts) >= _ALIKE * len(texts)
    if not is_even and not is_spaced:
        return None
    padded = [text.ljust(width) for text in texts]
    named = _named(padded, width)
    if named is not None:
        return FixedColumns(named, has_header=True, trimmed=not is_even)
    spans = _spans(padded, width)
    if len(spans) < 2:
        return None
    return FixedColumns(
        {f"column_{n}": [start + 1, end] for n, (start, end) in enumerate(spans, 1)},
        has_header=False,
        trimmed=not is_even,
    )


def _named(rows: Sequence[str], width: int) -> dict[str, list[int]] | None:
    """Return the columns below a first row that names them; None if it does not."""
    spans = _spans(rows[1:], width)
    heads = [rows[0][start:end].strip() for start, end in spans]
    if len(spans) < 2 or not all(heads) or len({head.lower() for head in heads}) < len(heads):
        return None
    columns = ([value for row in rows[1:] if (value := row[start:end].strip())] for start, end in spans)
    is_other = any(
        column and is_typed(column) and not is_typed([head, *column])
        for head, column in zip(heads, columns, strict=True)
    )
    return (
        {head: [start + 1, end] for head, (start, end) in zip(heads, spans, strict=True)}
        if is_other
        else None
    )


def _spans(rows: Sequence[str], width: int) -> list[tuple[int, int]]:
    """Return the ranges of columns; the blanks between belong to the left, or to a right-aligned column."""
    filled = [any(row[n] != " " for row in rows) for n in range(width)]
    starts = [n for n in range(width) if filled[n] and (n == 0 or not filled[n - 1])]
    ends = [n + 1 for n in range(width) if filled[n] and (n + 1 == width or not filled[n + 1])]
    begins = [0]
    for (_, left), (start, end) in pairwise(zip(starts, ends, strict=True)):
        values = [row[start:end] for row in rows if row[start:end].strip()]
        at_end = all(value[-1] != " " for value in values) and any(value[0] == " " for value in values)
        begins.append(left if at_end else start)
    return list(zip(begins, [*begins[1:], width], strict=True))
