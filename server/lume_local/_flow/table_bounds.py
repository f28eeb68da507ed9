"""The table in a file: `header`, `names`, `comment`, `footer`, and `excel` for workbooks, in `[source]`; and the
names that sources may have for a column, `from` in its table. Pure.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from lume_local._flow.fields import FlowError, Table


@frozen
class Aliases:
    """The names of a column in sources.

    Attributes:
        names: in the order of the flow. The column's own is added last if the flow does not list it, unless one of
            them is a field within it; a layout's names are those that it lists.
        first: whether a source with several of them is read by the first; else that is an error.
    """

    names: tuple[str, ...]
    first: bool


def read_aliases(name: str, table: Table, *, of_layout: bool = False) -> Aliases | None:
    """Return `from`: a list of names, or `{ first = […] }`."""
    holder = table
    if is_first := isinstance(table.values.get("from"), dict):
        holder = table.table("from")
    names = holder.scalars("first" if is_first else "from")
    if is_first:
        holder.refuse_unknown()
    for one in names:
        if not isinstance(one, str) or not one.strip() or len(one) > 200:
            raise FlowError(f"{table.place}.from", f"{one!r} is not a name of 1 to 200 characters")
        if not folded(one):
            raise FlowError(f"{table.place}.from", f"{one!r} has no letter or digit to compare")
    is_within = any(one.lower().startswith(f"{name.lower()}.") for one in names)
    # If layouts had the column's own name as well, a file with the contract's names would fit all of them.
    if names and name not in names and not is_within and not of_layout:
        lower = [one.lower() for one in names]
        at = lower.index(name.lower()) + 1 if name.lower() in lower else len(names)
        names = [*names[:at], name, *names[at:]]
    return Aliases(tuple(names), is_first) if names else None


def folded(name: str) -> str:
    """Return a name without the differences between spellings: case, width, accents, blanks and `_-.`."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in decomposed if not (unicodedata.combining(c) or c.isspace() or c in "_-."))


def joined(rows: Sequence[Sequence[str]]) -> list[str]:
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


LOOKED_AT = 100
"""How many lines of a file are searched for its header, and how many at its end for a footer."""
_MOST_LINES = 5
_RANGE = re.compile(r"([A-Z]{0,3})([0-9]{0,7}):([A-Z]{0,3})([0-9]{0,7})", re.IGNORECASE)
_ROWS, _COLUMNS = 1_048_576, 16_384
"""Excel's own limits."""
_MOST_SHEETS = 1000
_MAGIC = re.compile(r"[*?\[]")
"""The characters that make a name a pattern; no sheet can have them in its own."""


@frozen
class HeaderSettings:
    """The line that names the columns.

    Attributes:
        row: its number from 1 on; 0 if it is searched for, or if there is none.
        contains: names that are all in it; without them, the columns that the flow reads are searched for.
        lines: the number of its lines, whose names are joined.
        names: the column names of files without a header.
    """

    row: int = 1
    contains: tuple[str, ...] = ()
    lines: int = 1
    names: tuple[str, ...] = ()


@frozen
class FooterSettings:
    """The last lines that are no records: their number, or the beginning of each; set one of the two."""

    rows: int = 0
    starts_with: tuple[str, ...] = ()


def read_header(source: Table, named: tuple[str, ...] = ()) -> HeaderSettings:
    """Return `header` and `names` of the table `[source]`; `named` are columns with names. Raises `FlowError`."""
    place, value = source.at("header"), source.values.get("header")
    names = _texts(source, "names")
    if named and names:
        raise FlowError(
            source.at("names"), "has no meaning with fixed.columns, which have names: remove one of the two"
        )
    if isinstance(value, dict):
        if names:
            raise FlowError(source.at("names"), 'has no meaning without header = "none"')
        table = source.table("header")
        row = table.count("row", default=0, most=LOOKED_AT)
        lines = table.count("lines", default=1, most=_MOST_LINES)
        contains = _texts(table, "contains")
        table.refuse_unknown()
        for name in contains:
            if not folded(name):
                raise FlowError(table.at("contains"), f"{name!r} has no letter or digit to compare")
        if bool(row) == bool(contains):
            raise FlowError(table.place, 'is either { row = 4 } or { contains = ["E-Mail", "Amount"] }')
        if not lines:
            raise FlowError(table.at("lines"), f"must be a whole number from 1 to {_MOST_LINES}")
        return HeaderSettings(row, contains, lines)
    kind = source.choice("header", ("first", "find", "none"), default="none" if named else "first")
    names = named if named and kind == "none" else names
    if (kind == "none") != bool(names):
        raise FlowError(place, 'header = "none" and names = ["…", …] belong together')
    return HeaderSettings(row=int(kind == "first"), names=names)


def read_footer(source: Table) -> FooterSettings | None:
    """Return `footer` of the table `[source]`. Raises `FlowError`."""
    if not source.present("footer"):
        return None
    table = source.table("footer")
    rows, starts_with = table.count("rows", most=LOOKED_AT), _texts(table, "starts_with")
    table.refuse_unknown()
    if bool(rows) == bool(starts_with):
        raise FlowError(table.place, 'is either { rows = 1 } or { starts_with = ["Total"] }')
    return FooterSettings(rows, tuple(text.lstrip() for text in starts_with))


def read_comment(source: Table) -> str:
    """Return `comment` of the table `[source]`; empty if lines can't be comments. Raises `FlowError`."""
    comment: str = source.text("comment", default="", longest=10)
    if source.present("comment") and not comment.strip():
        raise FlowError(source.at("comment"), 'must be what comments begin with, such as "#"')
    return comment


def _texts(table: Table, key: str) -> tuple[str, ...]:
    texts: list[Any] = table.scalars(key)
    for text in texts:
        if not isinstance(text, str) or not text.strip() or len(text) > 200:
            raise FlowError(table.at(key), f"{text!r} is not a string of 1 to 200 characters")
    return tuple(texts)


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
    table.refuse_unknown()
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
