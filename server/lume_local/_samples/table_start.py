"""Finds the table of a sample: its sheet, header, comments and footer. The result is a guess.

A header differs from the values: it names numbers, and its cells don't occur below it. Numbers that are names are
years or positions (0, 1, 2).
"""

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from statistics import median
from typing import Any

from attrs import evolve, field, frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_async.errors import ConfigurationError
from lume_local._flow.table_bounds import joined
from lume_local._samples.opening import OpenSample, SampleParts

_FILLED = 0.8
"""Share of the usual number of filled cells above which a row can be the header."""
_SPARSE = 0.5
"""The share below which the first row is more likely a title."""
_MARKS = ("#", "//", "--", "%")
_TYPED = re.compile(r"[^\w(]{0,3}[-+(]?\d[\d.,:/ -]*\W{0,3}|true|false", re.IGNORECASE)
"""A number, a date or the like, which headers don't contain."""
TOTAL = re.compile(
    r"(?:(?:grand|sub|end)[ -]?)?(?:total|totals|sum|summe|gesamt|gesamtsumme|insgesamt|somme|totale|suma|soma)\b"
    r"|(?:end of|ende|fin|source|quelle|as of|stand|generated|created|exported|erstellt)\b",
    re.IGNORECASE,
)
_MOST_NAMED = 3
_VALUE = re.compile(
    r"\W{0,3}[-+]?\d[\d.,]*([eE][-+]?\d+)?\W{0,3}"  # numbers, amounts
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?"  # dates
    r"|true|false",
    re.IGNORECASE,
)
"""The same without doubt: a whole column of these is numeric."""
_YEAR = re.compile(r"[12]\d{3}")
_USUAL = 0.95
"""Share of numeric values that makes a column numeric."""
_FEWEST = 3
"""Minimum number of rows below the first."""
_MOST_CELLS = 200
_FIRST_ROWS = 100
_MOST_SHEETS = 20
_NEEDED = "a sample needs a header that names the columns, and rows"


@frozen
class Start:
    """The start of a table.

    Attributes:
        row: how many rows are above the header.
        names: the cells of the header.
        comment: the prefix of comments; empty if there are none.
        is_sure: whether the cells of the header differ in kind from those below.
        is_below_comments: whether only comments and blank rows are above it.
        is_row: whether it looks like the rows below it: then there is no header.
        lines: the number of lines of the header, whose names are joined.
    """

    row: int
    names: list[str]
    comment: str = ""
    is_sure: bool = True
    is_below_comments: bool = False
    is_row: bool = False
    lines: int = 1

    @property
    def settings(self) -> dict[str, object]:
        """The settings for the flow's `[source]`."""
        found: dict[str, object] = {"comment": self.comment} if self.comment else {}
        if self.is_row:
            found |= {"header": "none", "names": [f"column_{n}" for n in range(1, len(self.names) + 1)]}
        elif self.contains and (self.lines > 1 or (self.row and not self.is_below_comments)):
            more = {"lines": self.lines} if self.lines > 1 else {}
            found["header"] = {"contains": self.contains, **more}
        return found

    @property
    def contains(self) -> list[str]:
        """Some names that identify the header."""
        named = [name for name in dict.fromkeys(map(str.strip, self.names)) if re.search(r"[^\W_]", name)]
        return [name for name in named if len(name) <= 200][:_MOST_NAMED]

    @property
    def doubts(self) -> list[str]:
        asked = []
        if self.comment:
            asked.append(f"lines that begin with {self.comment!r} are skipped as comments: is that right?")
        if self.is_row:
            asked.append(
                "the first line looks like the rows below it, so it is taken for a row, and columns have numbers: "
                "name them, unless it is the header"
            )
        elif "header" in self.settings:
            shown = elided(listed(list(filter(str.strip, self.names))), 200)
            unsure = "" if self.is_sure else ", though it looks like the rows below it"
            lines = f", joined from {self.lines} lines" if self.lines > 1 else ""
            above = ", and what is above it is skipped" if self.row else ""
            asked.append(f"the header is taken to be {shown}{lines}{unsure}{above}: is that right?")
        return asked


def start_of_lines(lines: Sequence[str], delim: str) -> Start:
    """Return where the table of a text starts, by its first lines."""
    rows, record = split(lines, delim), list[str]()
    start = start_of(rows, lines)
    with suppress(csv.Error):
        record = next((row for row in csv.reader(lines, delimiter=delim) if any(row)), [])
    has_line_ends = any("\n" in cell or "\r" in cell for cell in record)
    if (
        start.row
        and "header" in start.settings
        and has_line_ends
        and len(record) >= _FILLED * len(start.names)
    ):
        return evolve(start, row=0, names=record)  # a header of several lines
    return start


def start_of(rows: Sequence[Sequence[str]], lines: Sequence[str] = ()) -> Start:
    """Return where the table of these first rows starts: at the first row with nearly the usual number of cells.

    `lines` are the rows as written, if they are lines of a text.
    """
    comment = _comment_mark(rows, lines)
    is_comment = [bool(comment) and line.startswith(comment) for line in lines] or [False] * len(rows)
    filled = [
        0 if skipped else sum(bool(cell.strip()) for cell in row)
        for row, skipped in zip(rows, is_comment, strict=True)
    ]
    usual = median([count for count in filled if count] or [0])
    first = next((n for n, count in enumerate(filled) if count), 0)
    found = next((n for n, count in enumerate(filled) if count and count >= _FILLED * usual), first)
    for n, count in enumerate(filled[: found + 1]):
        if count > 1 and _continues(rows[n:]):
            both = [[cell.strip() for cell in row] for row in rows[n : n + 2]]
            return Start(n, joined(both), comment, lines=2)
    below = [row for row, count in zip(rows[found + 1 :], filled[found + 1 :], strict=True) if count]
    typed = _typed(rows[found]) if rows else 0
    is_sure = bool(below) and typed < median(map(_typed, below))
    if found > first and not (typed == 0 and is_sure):
        # A row of values only is not a header; one below a row that is not sparse probably isn't either.
        is_title = filled[first] < _SPARSE * usual
        found = found if is_title and typed < filled[found] else first
    names = list(rows[found]) if rows else []
    # The engine counts a line of delimiters alone as an empty row.
    above = zip(lines[:found], is_comment, strict=False)
    is_below_comments = bool(comment) and all(skipped or not line.strip(" \r\n") for line, skipped in above)
    is_row = found == first and _is_headerless(
        [row for row, count in zip(rows, filled, strict=True) if count]
    )
    return Start(found, names, comment, is_sure, is_below_comments, is_row)


def _continues(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a header goes on in a second line: with names below a group, and blanks below other names."""
    if len(rows) < 2:
        return False
    first, second, *others = rows
    below = [row for row in others if any(row)]
    if len(first) != len(second) or len(below) < _FEWEST or any(map(_VALUE.fullmatch, second)):
        return False
    columns = [[row[n] for row in below if n < len(row) and row[n].strip()] for n in range(len(first))]
    is_named = any(not one.strip() and two.strip() for one, two in zip(first, second, strict=True))
    blank = [values for two, values in zip(second, columns, strict=True) if not two.strip()]
    is_other = all(two not in values for two, values in zip(second, columns, strict=True) if two.strip())
    # A record that lacks these values would be the only one.
    return is_named and is_other and bool(blank) and all(len(one) >= _USUAL * len(below) for one in blank)


def _comment_mark(rows: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    """Return the mark at the start of lines that differ from most in width and are not within quotes."""
    widths = [len(row) for row in rows if any(cell.strip() for cell in row)]
    usual = median(widths or [0])
    begins, is_open = list[bool](), False
    for row, line in zip(rows, lines, strict=False):
        is_even = line.count('"') % 2 == 0
        is_record = len(row) == usual and is_even
        begins.append(not is_open or is_record)
        is_open = not is_record and is_open == is_even
    for mark in _MARKS:
        marked = [
            row
            for row, line, is_begin in zip(rows, lines, begins, strict=False)
            if is_begin and line.startswith(mark)
        ]
        if marked and len(marked) < len(rows) / 2 and all(len(row) != usual for row in marked):
            return mark
    return ""


def _is_headerless(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first of these rows is not a header."""
    first, *below = [[cell.strip() for cell in row] for row in rows] or [[]]
    below = [row for row in below if len(row) == len(first) and any(row)]
    if len(below) < _FEWEST or not any(first):
        return False
    columns = [[row[n] for row in below if row[n]] for n in range(len(first))]
    typed = [
        cell
        for cell, values in zip(first, columns, strict=True)
        if values and sum(map(bool, map(_VALUE.fullmatch, values))) >= _USUAL * len(values)
    ]
    if typed:
        return all(map(_VALUE.fullmatch, typed)) and not _are_names(typed)
    # Only categories recur in their columns; a header may be repeated once below.
    recurs = any(cell and values.count(cell) > 1 for cell, values in zip(first, columns, strict=True))
    return first not in below and recurs


def _are_names(cells: Sequence[str]) -> bool:
    """Return whether the cells are years, or consecutive whole numbers."""
    if all(map(_YEAR.fullmatch, cells)):
        return True
    whole = [int(cell) for cell in cells if cell.isdecimal()]
    return len(whole) == len(cells) > 1 and all(other == one + 1 for one, other in pairwise(whole))


def _typed(row: Sequence[str]) -> int:
    """Count the cells that can't be names."""
    return sum(_TYPED.fullmatch(cell.strip()) is not None for cell in row)


def split(lines: Sequence[str], delim: str) -> list[list[str]]:
    """Split each line separately: above a table, quotes may stand anywhere."""
    rows = []
    for line in lines:
        row: list[str] = []
        with suppress(csv.Error):
            row = next(csv.reader([line], delimiter=delim), [])
        rows.append(row)
    return rows


def footer_of(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the beginnings of last rows that may not be records.

    Every rule raised false alarms on real files, so the result is only for a comment.
    """
    starts: list[str] = []
    for row in reversed([row for row in rows if any(cell.strip() for cell in row)]):
        first = next((cell.strip() for cell in row if cell.strip()), "")
        is_total = TOTAL.match(first) is not None and (
            len(row) != width or any(not cell.strip() for cell in row)
        )
        if not is_total or len(starts) > _MOST_NAMED:
            break
        starts.append(first[:50])
    return list(dict.fromkeys(reversed(starts)))


@frozen
class SheetChoice:
    """A sheet as the flow's `[source]`, what to check, and names that identify its header."""

    source: dict[str, Any]
    doubts: list[str]
    contains: list[str] = field(factory=list)

    @property
    def below_blank_rows(self) -> "SheetChoice":
        """The same with a header that need not be the first row."""
        return evolve(self, source=self.source | {"header": {"contains": self.contains}})


def sheet_of(parts: SampleParts, file: OpenSample, name: str, wanted: str | int | None = None) -> SheetChoice:
    """Return the sheet to read, the first with a table unless one is `wanted`, and where its table starts.

    `name` is the workbook's in messages. Raises `ConfigurationError` if there is no cell with a value.
    """
    if wanted is not None:
        chosen = {"excel": {"sheet": wanted}}
        start, has_table = _begins(file, chosen)
        if has_table is None:
            raise ConfigurationError(f"{name} has no cell with a value in the sheet {wanted!r}: {_NEEDED}")
        return SheetChoice({"format": "excel"} | chosen | start.settings, start.doubts, start.contains)
    names = parts.sheets[:_MOST_SHEETS] or [""]
    begins = []
    for n, sheet in enumerate(names):
        begins.append(_begins(file, {"excel": {"sheet": sheet}} if n else {}))
        if begins[-1][1]:
            break
    at = len(begins) - 1
    if not begins[at][1]:  # no sheet has a table: the first that has anything
        at = next((n for n, (_, has_table) in enumerate(begins) if has_table is not None), -1)
    hidden = f"hidden, and not read: {listed(parts.hidden)}"
    if at < 0:
        where = "its sheet" if len(names) == 1 else f"its {len(names)} sheets"
        more = f"; {hidden}: unhide what should be read" if parts.hidden else ""
        raise ConfigurationError(f"{name} is empty: no cell of {where} has a value, and {_NEEDED}{more}")
    start, doubts = begins[at][0], list[str]()
    if at:
        doubts.append(f"the sheet {names[at]!r} is read, as those before it have no table: is that right?")
    elif len(parts.sheets) > 1:
        sheets = counted(len(parts.sheets), "sheet")
        others = listed(parts.sheets[1:])
        doubts.append(f"of {sheets} the first is read, {names[0]!r}: others are {others}")
    if parts.hidden:
        doubts.append(hidden)
    source = {"format": "excel"} | ({"excel": {"sheet": names[at]}} if at else {}) | start.settings
    return SheetChoice(source, [*doubts, *start.doubts], start.contains)


def _begins(file: OpenSample, more: dict[str, Any]) -> tuple[Start, bool | None]:
    """Return where the table of a sheet starts, and whether there is one; None if no cell has a value."""
    names = [f"c{n}" for n in range(_MOST_CELLS)]
    try:
        found = file.rows({"format": "excel", "header": "none", "names": names} | more, most=_FIRST_ROWS)
    except ConfigurationError:  # reading it normally reports why
        return Start(0, []), False
    rows = [[value or "" for value in row] for row in found.rows]
    width = max((n for row in rows for n, value in enumerate(row, 1) if value), default=0)
    start = start_of([row[:width] for row in rows])
    has_table = width > 1 and len(rows) > start.row + 1
    return start, has_table if width or found.malformed else None
