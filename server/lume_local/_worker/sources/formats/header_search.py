"""Finds the header among the first lines of a table. Pure."""

from typing import Any

from lume_local._flow.table_bounds import LOOKED_AT, folded
from lume_local._worker.sources.formats.names import NEW, said_of, spellings, version_for


def is_header(flow: dict[str, Any], cells: list[str]) -> bool:
    """Return whether a line contains everything that is looked for."""
    return not missing_in(flow, cells)


def missing_in(flow: dict[str, Any], cells: list[str]) -> list[str]:
    """Return the names that a line would need to be the header."""
    folds, lower = set(map(folded, cells)), {cell.lower() for cell in cells}
    if contains := flow["header"]["contains"]:
        return [name for name in contains if folded(name) not in folds]
    aliased = flow["aliases"]
    return [
        name
        for name in flow["sources"]
        if lower.isdisjoint(one.lower() for one in spellings(flow, name))
        and (name.lower() not in aliased or folds.isdisjoint(map(folded, spellings(flow, name))))
    ]


def header_not_found(flow: dict[str, Any], shown: str, lines: list[tuple[int, list[str]]]) -> str:
    """Return the message with the lines that come nearest, and the names they lack."""
    best = sorted(lines, key=lambda line: len(missing_in(flow, line[1])))[:3]
    near = "; ".join(
        f"line {number} ({', '.join(map(repr, cells[:5]))}) lacks {', '.join(map(repr, missing_in(flow, cells)[:5]))}"
        for number, cells in best
    )
    how = next(filter(None, (said_of(version_for(flow, cells)) for _, cells in lines)), "")
    return (
        f"no header in the first {LOOKED_AT} lines of {shown}: {near or 'none has cells to compare'}. "
        f"{how or f'Fix the file or header in [source]{NEW}'}"
    )


def joined(rows: list[list[str]]) -> list[str]:
    """Join a header of several lines: each column's words from top to bottom, a group's words for all its columns.

    An empty cell in an upper line belongs to the group on its left.
    """
    width = max(map(len, rows))
    names = [""] * width
    for number, row in enumerate(rows, 1):
        group = ""
        for n in range(width):
            cell = row[n] if n < len(row) else ""
            group = cell or ("" if number == len(rows) else group)
            names[n] = f"{names[n]} {group}".strip()
    return names
