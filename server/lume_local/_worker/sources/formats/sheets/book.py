"""The interface of a workbook for reading its sheets, with their rows, ranges, merged cells and values. Pure.

Values are strings as expressions see them, or NULL for a cell that displays nothing. Each kind of workbook has a file
of its own.
"""

import datetime
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol

from attrs import frozen

from lume_local._flow.table_bounds import column_number
from lume_local._worker.sources.source import SourceError

Row = tuple[int, list[str | None]]
"""The number of a row, from 1, and its values."""
MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
"""Excel's own limits."""
MOST_MERGED = 200_000
"""Merged cells of a sheet, which are held in memory."""
_MOST_FILLED = 20_000_000
_CELL = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})", re.IGNORECASE)


@frozen
class Area:
    """First and last row and column, counted from 1."""

    top: int = 1
    bottom: int = MOST_ROWS
    left: int = 1
    right: int = MOST_COLUMNS

    @classmethod
    def of(cls, reference: str) -> "Area":
        """Parse an area as a workbook writes it: `B4:F200`. Raises ValueError."""
        first, _, last = reference.partition(":")
        corners = [_CELL.fullmatch(corner) for corner in (first, last or first)]
        if None in corners:
            raise ValueError(f"{reference[:100]!r} is not a range of cells")
        (left, top), (right, bottom) = (
            (column_number(corner[1]), int(corner[2])) for corner in corners if corner
        )
        return cls(top, bottom, left, right)


@frozen
class SheetName:
    """A sheet with cells; `is_hidden` if the workbook doesn't display it."""

    name: str
    is_hidden: bool = False


class Book(Protocol):
    """An open workbook.

    Its readers raise `SourceError`, or any of `trouble.TROUBLE` for a damaged file.

    Attributes:
        sheets: the sheets with cells, in order.
        charts: the names of the sheets without cells.
    """

    sheets: list[SheetName]
    charts: list[str]

    def rows(self, name: str) -> Generator[Row, None, None]:
        """Yield the existing rows with their numbers, in order; cells that the sheet leaves out are None.

        A cell may hold an `ErrorText` or `Unsaved`.
        """
        ...

    def merged(self, name: str) -> list[Area]:
        """Return the merged areas of the sheet."""
        ...

    def close(self) -> None:
        """Close the file."""


def column_letters(number: int) -> str:
    """Return the letters of a column: `A` for 1."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def without_gaps(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, with blank ones where the file leaves rows out."""
    last = 0
    for number, values in rows:
        yield from ((gap, list[str | None]()) for gap in range(last + 1, number))
        yield number, values
        last = number


def filled(rows: Iterable[Row], merged: Sequence[Area], shown: str) -> Iterator[Row]:
    """Yield the rows with the value of each merged area in all its cells, if the sheet has the row.

    Raises `SourceError` if these are too many.
    """
    waiting = sorted(merged, key=lambda area: -area.top)
    open_areas = list[tuple[Area, str | None]]()
    left = _MOST_FILLED
    for number, values in rows:
        open_areas = [one for one in open_areas if one[0].bottom >= number]
        while waiting and waiting[-1].top <= number:
            area = waiting.pop()
            is_first = area.top == number and len(values) >= area.left
            if is_first and area.bottom >= number:
                open_areas.append((area, values[area.left - 1]))
        for area, value in open_areas:
            width = area.right - area.left + 1
            left -= width
            if left < 0:
                raise SourceError(f"{shown} has merged cells over more than {_MOST_FILLED:,} others")
            if value is not None:
                values.extend([None] * (area.right - len(values)))
                values[area.left - 1 : area.right] = [value] * width
        yield number, values


_WHOLE = 1e15
"""Below this, a float represents every whole number exactly."""
EPOCHS = (datetime.datetime(1899, 12, 30), datetime.datetime(1904, 1, 1))
"""Day 0 of a workbook; the second is for old Macs."""


class ErrorText(str):
    """An error that a cell shows, such as `#N/A`."""

    __slots__ = ()


class Unsaved(str):
    """A formula whose value was never computed."""

    __slots__ = ()


def as_text(value: Any, number_format: str = "General") -> str | None:
    """Convert a Python value from a workbook reader to a string."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        # A date without a time of day is shown without it, if the cell does so.
        is_day = _shape(number_format) == "date" and value.time() == datetime.time()
        return value.date().isoformat() if is_day else value.isoformat(" ")
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


@cache
def _shape(number_format: str) -> str:
    """Return whether a format shows a `date`, a `time`, a `datetime` or a `duration`; empty for a number."""
    from openpyxl.styles.numbers import is_date_format, is_datetime, is_timedelta_format

    if not is_date_format(number_format):
        return ""
    return "duration" if is_timedelta_format(number_format) else str(is_datetime(number_format.lower()))


def number_as_text(number: float, number_format: str, *, is_1904: bool) -> str | None:
    """Convert a number by its format, as openpyxl does in .xlsx."""
    from openpyxl.utils.datetime import from_excel

    if not (shape := _shape(number_format)):
        return as_text(number)
    try:
        value: Any = from_excel(number, EPOCHS[is_1904], timedelta=shape == "duration")
    except (OverflowError, ValueError):
        return ErrorText("#VALUE!")  # Excel shows ####
    return as_text(value, number_format)
