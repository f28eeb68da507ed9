"""The cells of a workbook to read: `excel` in `[source]`. Pure."""

import re

from attrs import frozen

from lume_local._flow.fields import FlowError, Table

_RANGE = re.compile(r"([A-Z]{0,3})([0-9]{0,7}):([A-Z]{0,3})([0-9]{0,7})", re.IGNORECASE)
_ROWS, _COLUMNS = 1_048_576, 16_384
"""Excel's own limits."""
_MOST_SHEETS = 1000
_MAGIC = re.compile(r"[*?\[]")
"""The characters that make a name a pattern; no sheet can have them in its own."""


@frozen
class SheetSettings:
    """The part of a workbook that is read.

    Attributes:
        sheet: a name; a pattern of names, all of them read; the number of a visible sheet; empty for the first.
        range: its first and last row, and its first and last column; None for the whole sheet.
        merged: which of several merged cells have the value: the `first`, or with `fill` all.
    """

    sheet: str | int = ""
    range: tuple[int, int, int, int] | None = None
    merged: str = "first"


def is_pattern(sheet: str | int) -> bool:
    """Return whether several sheets can be meant."""
    return isinstance(sheet, str) and _MAGIC.search(sheet) is not None


def read_sheets(table: Table) -> SheetSettings:
    """Return the table `excel`. Raises `FlowError`."""
    sheet: str | int
    if isinstance(table.values.get("sheet"), int):
        sheet = table.count("sheet", most=_MOST_SHEETS)
        if not sheet:
            raise FlowError(table.at("sheet"), "must be a name, a pattern, or a number from 1 on")
    else:
        sheet = table.text("sheet", default="", longest=200)
    settings = SheetSettings(sheet, _range(table), table.choice("merged", ("first", "fill"), default="first"))
    table.no_more()
    return settings


def _range(table: Table) -> tuple[int, int, int, int] | None:
    text = table.text("range", default="")
    if not text:
        return None
    match = _RANGE.fullmatch(text)
    if match is None or not any(match.groups()):
        raise FlowError(
            table.at("range"), f'{text!r} is not a range such as "B4:F200", "B4:F", "B:F" or "4:200"'
        )
    left, top, right, bottom = match.groups()
    first_row, last_row = int(top or 1), int(bottom or _ROWS)
    first, last = column_number(left or "A"), column_number(right) if right else _COLUMNS
    if not 1 <= first_row <= last_row <= _ROWS or not first <= last <= _COLUMNS:
        raise FlowError(table.at("range"), f"{text!r} has no cells: a sheet has the cells A1 to XFD1048576")
    return first_row, last_row, first, last


def column_number(letters: str) -> int:
    """Return the number of a column, 1 for `A`."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number
