"""Rejected rows as a table: their places, reasons and source columns."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from lume_cli._output.row_table import row_table


def reject_table(rejected: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """Return the lines of the table; `width` is the terminal's, None if there is none."""
    shared = _shared_folder([row["_lume_file"] for row in rejected if row.get("_lume_file")])
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


def _shared_folder(files: Sequence[str]) -> str:
    """Return the folder that contains all these files."""
    levels = zip(*(file.split("/")[:-1] for file in files), strict=False)
    return "".join(f"{level[0]}/" for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _place(row: Mapping[str, Any], shared: str) -> str:
    """Return the number among the rows that could be parsed, or the line number of a malformed line.

    With several files the file is named, relative to their common folder; row numbers count across all of them.
    """
    number, line, file = row.get("_lume_row"), row.get("_lume_line"), row.get("_lume_file")
    if not file:
        return f"row {number:,}" if number else f"line {line:,}" if line else ""
    place = f"row {number:,} of all, " if number else f"line {line:,}, " if line else ""
    return f"{place}{str(file).removeprefix(shared)}"
