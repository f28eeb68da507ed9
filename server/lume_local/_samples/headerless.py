"""Detects a table without a header: its first row looks like the rows below it. Pure; the result is a guess.

A header differs from the values: it names numbers, and its cells don't occur below it. Numbers that are names are
years or positions (0, 1, 2).
"""

import re
from collections.abc import Sequence
from itertools import pairwise

_TYPED = re.compile(
    r"\W{0,3}[-+]?\d[\d.,]*([eE][-+]?\d+)?\W{0,3}"  # numbers, amounts
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?"  # dates
    r"|true|false",
    re.IGNORECASE,
)
_YEAR = re.compile(r"[12]\d{3}")
_USUAL = 0.95
"""Share of numeric values that makes a column numeric."""
_FEWEST = 3
"""Minimum number of rows below the first."""


def is_headerless(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first of these rows is not a header."""
    first, *below = [[cell.strip() for cell in row] for row in rows] or [[]]
    below = [row for row in below if len(row) == len(first) and any(row)]
    if len(below) < _FEWEST or not any(first):
        return False
    columns = [[row[n] for row in below if row[n]] for n in range(len(first))]
    typed = [n for n, values in enumerate(columns) if _is_typed(values)]
    if not typed:
        return first not in below and _recurs(first, columns)  # a header may be repeated once below
    cells = [first[n] for n in typed]
    return all(map(_TYPED.fullmatch, cells)) and not _are_names(cells)


def _is_typed(values: Sequence[str]) -> bool:
    return bool(values) and sum(_TYPED.fullmatch(value) is not None for value in values) >= _USUAL * len(
        values
    )


def _are_names(cells: Sequence[str]) -> bool:
    """Return whether the cells are years, or consecutive whole numbers."""
    if all(map(_YEAR.fullmatch, cells)):
        return True
    whole = [int(cell) for cell in cells if cell.isdecimal()]
    return len(whole) == len(cells) > 1 and all(other == one + 1 for one, other in pairwise(whole))


def _recurs(first: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Return whether the row has values that recur in their columns, as only categories do."""
    return any(cell and values.count(cell) > 1 for cell, values in zip(first, columns, strict=True))
