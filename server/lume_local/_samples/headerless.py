"""Whether a table has no header: its first row is a row as those below it. Pure; what it finds is a guess.

A header is of another kind than the values: it names numbers, and its cells don't occur below it. Numbers that are
names are years, or positions (0, 1, 2).
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
"""The share of values by which a column is one of numbers."""
_FEWEST = 3
"""Rows below it that it takes to say something."""


def is_headerless(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of these rows is no header."""
    first, *below = [[cell.strip() for cell in row] for row in rows] or [[]]
    below = [row for row in below if len(row) == len(first) and any(row)]
    if len(below) < _FEWEST or not any(first):
        return False
    columns = [[row[n] for row in below if row[n]] for n in range(len(first))]
    typed = [n for n, values in enumerate(columns) if _is_typed(values)]
    if not typed:
        return first not in below and _recurs(first, columns)  # a header may be there once more
    cells = [first[n] for n in typed]
    return all(map(_TYPED.fullmatch, cells)) and not _are_names(cells)


def _is_typed(values: Sequence[str]) -> bool:
    return bool(values) and sum(_TYPED.fullmatch(value) is not None for value in values) >= _USUAL * len(
        values
    )


def _are_names(cells: Sequence[str]) -> bool:
    """Years, or whole numbers one after the other."""
    if all(map(_YEAR.fullmatch, cells)):
        return True
    whole = [int(cell) for cell in cells if cell.isdecimal()]
    return len(whole) == len(cells) > 1 and all(other == one + 1 for one, other in pairwise(whole))


def _recurs(first: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether the row has values that their columns have again, as only those of categories do."""
    return any(cell and values.count(cell) > 1 for cell, values in zip(first, columns, strict=True))
