"""Rows of data and rejected rows for people: a table if every line fits, otherwise blocks, with long values cut."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from lume_cli._output.text import as_json, columns, visible, wrapped

_LONGEST = 500
"""The maximum length of a value. It also applies in a pipe, since every line is as wide as the longest value."""


def row_table(rows: Sequence[Mapping[str, Any]], leading: int, width: int | None) -> list[str]:
    """Return the rows as lines of at most `width` characters, unless a single value is longer; None: no limit.

    A column that a row lacks is empty. A block shows the first `leading` columns without their names.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str:
        text = "" if value is None else visible(as_json(value) if isinstance(value, dict | list) else value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"

    cells = [tuple(cell(row.get(name)) for name in names) for row in rows]
    lines = columns([tuple(map(visible, names)), *cells])
    if width is None or max(map(len, lines)) <= width:
        return lines
    blocks = []
    for row, values in zip(rows, cells, strict=True):
        named = [(name, text) for name, text in zip(names, values, strict=True) if name in row]
        # The leading values on lines of their own, then the others with their names, filling each line.
        head = "  ".join(text for _name, text in named[:leading])
        lines = wrapped(head, width) if head else []
        line = "" if head else "-"
        for name, text in named[leading:]:
            pair = f"{visible(name)}: {text}".rstrip()
            if line.strip(" -") and len(line) + 2 + len(pair) > width:
                lines.append(line)
                line = ""
            line += f"  {pair}"
        blocks += [*lines, line] if line.strip() else lines
    return blocks


def reject_table(rejected: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Return the lines of the table; `width` is the terminal's, None if there is none."""
    folders = [row["_lume_file"].split("/")[:-1] for row in rejected if row.get("_lume_file")]
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False))
    shared = "".join(f"{level[0]}/" for level in levels)
    return row_table([_reasons_first(row, shared) for row in rejected], 2, width) if rejected else []


def _reasons_first(row: Mapping[str, Any], shared: str) -> dict[str, Any]:
    """Return a rejected row as its place, its reasons and its source columns."""
    reasons = row.get("_lume_reasons")
    first = {
        "WHERE": _place(row, shared),
        "WHY": "; ".join(map(str, reasons)) if isinstance(reasons, list) else reasons,
    }
    shown = {name: value for name, value in row.items() if not name.startswith("_lume_")}
    if row.get("_lume_raw"):  # a line that could not be parsed has no columns
        shown = {"LINE": row["_lume_raw"]}
    return first | shown


def _place(row: Mapping[str, Any], shared: str) -> str:
    """Return the path, or the line, in a file that has one; else the number among the rows that could be parsed.

    With several files the file is named, relative to their common folder; row numbers count across all of them.
    """
    number, line, file = row.get("_lume_row"), row.get("_lume_line"), row.get("_lume_file")
    place = str(row.get("_lume_path") or (f"line {line:,}" if line else f"row {number:,}" if number else ""))
    if not file:
        return place
    return f"{place}{', ' if line or not place else ' of all, '}{str(file).removeprefix(shared)}"
