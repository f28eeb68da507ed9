"""What `lume flow try` shows: counts and reasons, then clean and rejected rows, side by side if they fit."""

from collections.abc import Mapping, Sequence
from itertools import takewhile, zip_longest
from typing import Any

from lume_async._base.words import counted
from lume_cli._output.row_table import row_table
from lume_cli._output.text import filtered, warnings
from lume_local import TriedFlow

_GAP = "  |  "
_PAGE = 80
"""Width in characters if there is no terminal."""


def counts(tried: TriedFlow, sample: str, failure: str | None, over: float | None) -> list[str]:
    """The lines above the rows."""
    metrics = tried.metrics
    if failure is not None:
        return [f"{tried.ref} on {sample}: {tried.status}: {failure}"]
    lines = [
        f"{tried.ref} on {sample}: {counted(metrics['rows_read'], 'row')} read, {metrics['rows_mapped']:,} clean, "
        f"{metrics['rows_rejected']:,} rejected{filtered(metrics.get('rows_filtered', 0))}"
    ]
    most_first = sorted(metrics["reject_reasons"].items(), key=lambda item: (-item[1], item[0]))
    lines += [f"  {counted(number, 'row')}: {reason}" for reason, number in most_first]
    if over is not None:
        lines.append(f"  with max_ratio = {over:g} this run would be FAILED and write nothing")
    return lines + [f"  warning: {one}" for one in warnings(metrics["warnings"])]


def rows(
    clean: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]], width: int | None
) -> list[str]:
    """Both tables; `width` is the terminal's, None if there is none."""
    left = ["CLEAN", *row_table(clean, 0, width)] if clean else []
    right = ["REJECTED", *rejected_table(rejected, width)] if rejected else []
    room = max(map(len, left), default=0)
    if left and right and room + len(_GAP) + max(map(len, right)) <= (width or _PAGE):
        return [
            f"{one.ljust(room)}{_GAP}{other}".rstrip()
            for one, other in zip_longest(left, right, fillvalue="")
        ]
    return [*left, *([""] if left and right else []), *right]


def rejected_table(rejected: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """The rejected rows only."""
    shared = _shared_folder([row["_lume_file"] for row in rejected if row.get("_lume_file")])
    return row_table([_reasons_first(row, shared) for row in rejected], 2, width) if rejected else []


def _reasons_first(row: Mapping[str, Any], shared: str) -> dict[str, Any]:
    """A rejected row as its place, its reasons and its source columns."""
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
    """The folder that contains all these files."""
    levels = zip(*(file.split("/")[:-1] for file in files), strict=False)
    return "".join(f"{level[0]}/" for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _place(row: Mapping[str, Any], shared: str) -> str:
    """A row's number counts the rows that could be parsed; a malformed line has its line in the file.

    With several files the file is named, relative to the folder they share; row numbers count across all of them.
    """
    number, line, file = row.get("_lume_row"), row.get("_lume_line"), row.get("_lume_file")
    if not file:
        return f"row {number:,}" if number else f"line {line:,}" if line else ""
    place = f"row {number:,} of all, " if number else f"line {line:,}, " if line else ""
    return f"{place}{str(file).removeprefix(shared)}"
