"""Rows of data for people: a table if every line fits, otherwise blocks. Very long values are shortened."""

from collections.abc import Mapping, Sequence
from typing import Any

from lume_cli._output.text import as_json, columns, visible, wrapped

_LONGEST = 500
"""The maximum length of a value. It also applies in a pipe, since every line is as wide as the longest value."""


def row_table(rows: Sequence[Mapping[str, Any]], leading: int, width: int | None) -> list[str]:
    """Return the rows as lines of at most `width` characters, unless a single value is longer; None: no limit.

    Args:
        rows: the rows; a column that a row lacks is empty.
        leading: the number of first columns that a block shows without their names, before the others.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [tuple(_cell(row.get(name)) for name in names) for row in rows]
    lines = columns([tuple(map(visible, names)), *cells])
    if width is None or max(map(len, lines)) <= width:
        return lines
    blocks = []
    for row, values in zip(rows, cells, strict=True):
        named = [(name, text) for name, text in zip(names, values, strict=True) if name in row]
        blocks += _block(named, leading, width)
    return blocks


def _block(cells: Sequence[tuple[str, str]], leading: int, width: int) -> list[str]:
    """Return the leading values on lines of their own, then the others with their names, filling each line."""
    head = "  ".join(text for _name, text in cells[:leading])
    lines = wrapped(head, width) if head else []
    line = "" if head else "-"
    for name, text in cells[leading:]:
        pair = f"{visible(name)}: {text}".rstrip()
        if line.strip(" -") and len(line) + 2 + len(pair) > width:
            lines.append(line)
            line = ""
        line += f"  {pair}"
    return [*lines, line] if line.strip() else lines


def _cell(value: Any) -> str:
    text = "" if value is None else visible(as_json(value) if isinstance(value, dict | list) else value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"
