"""Reads OpenDocument spreadsheets (.ods) cell by cell, with the types that the file states.

Libraries return an error as an empty string, and hold a sheet in memory with all its repeated cells.
"""

import datetime
import re
from collections.abc import Callable, Generator
from pathlib import Path
from xml.parsers import expat

from attrs import define, field

from lume_local._shared.failing import on_error
from lume_local._worker.sources.formats.sheets.book import (
    MOST_COLUMNS,
    MOST_MERGED,
    MOST_ROWS,
    Area,
    ErrorText,
    Row,
    SheetName,
    Unsaved,
    as_text,
)
from lume_local._worker.sources.formats.sheets.parts import Archive
from lume_local._worker.sources.source import Pause, SourceError

_CONTENT, _MANIFEST = "content.xml", "META-INF/manifest.xml"
_BLOCK = 64 * 1024
_MOST_TEXT = 64 * 1024**2
"""Characters of a row, including blanks that the file only counts."""
_SPACE = "urn:oasis:names:tc:opendocument:xmlns:"
_TABLE, _TEXT, _OFFICE, _STYLE = (f"{_SPACE}{name}:1.0 " for name in ("table", "text", "office", "style"))
_CALC = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0 value-type"
_CELLS = {f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"}
_ASIDE = {f"{_OFFICE}annotation", f"{_TABLE}table", f"{_TABLE}shapes", f"{_TEXT}note", f"{_TEXT}ruby-text"}
_DRAWN = f"{_SPACE}drawing:1.0 "
"""Elements in a cell, or above it, that are not part of its text."""
_ERROR = re.compile(r"#(?:N/A|DIV/0!|VALUE!|REF!|NAME\?|NUM!|NULL!)|Err:\d+")
"""The text of an error in a formula, in files of programs that don't note the type."""
_TIME = re.compile(
    r"-?P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:[.,](?P<part>\d+))?S)?)?"
)
_PLAIN = re.compile(r"-?\d+\.\d+|-?\d{15,}")
"""Numbers that keep their digits unchanged."""


class OdsBook:
    """See `Book`."""

    def __init__(self, path: Path, shown: str, pause: Pause, most: int) -> None:
        self._archive, self._shown, self._most = Archive(path, pause), shown, most
        with on_error(self._archive.close):
            if b"encryption-data" in self._archive.read(_MANIFEST):
                raise SourceError(f"{shown} is encrypted: save it without a password")
            names = _Names()
            for _ in self._parsed(names):
                pass
        self.sheets = names.sheets
        self.charts: list[str] = []

    def _parsed(self, handler: "_Handler") -> Generator[None, None, None]:
        """Feed the document to the handler, block by block."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler, parser.EndElementHandler = handler.begins, handler.ends
        parser.CharacterDataHandler = handler.says
        with self._archive.open(_CONTENT) as file:
            handler.row_ends = file.row_ends
            file.row_ends()
            while not handler.is_over and (block := file.read(_BLOCK)):
                parser.Parse(block, False)
                yield
        if not handler.is_over:
            parser.Parse(b"", True)

    def rows(self, name: str) -> Generator[Row, None, None]:
        """Yield all rows; repeated rows and cells come as often, but trailing ones without values are left out."""
        handler, left = _Rows(name), self._most
        for _ in self._parsed(handler):
            for number, values, times in handler.taken():
                left -= times * sum(len(value or "") + 1 for value in values)
                if left < 0:
                    raise SourceError(
                        f"{self._shown} repeats cells to more than source.max_unpacked_bytes allows: {self._most:,}"
                    )
                yield from ((number + n, [*values]) for n in range(times))

    def merged(self, name: str) -> list[Area]:
        handler = _Rows(name)
        for _ in self._parsed(handler):
            for _ in handler.taken():
                if len(handler.merged) > MOST_MERGED:
                    raise ValueError(f"a sheet has more than {MOST_MERGED:,} merged cells")
        return handler.merged

    def close(self) -> None:
        self._archive.close()


class _Handler:
    """Handles the elements of the document."""

    is_over = False
    row_ends: Callable[[], None]
    """Called where the next row may begin."""

    def begins(self, element: str, attributes: dict[str, str]) -> None: ...

    def ends(self, element: str) -> None: ...

    def says(self, text: str) -> None: ...


class _Names(_Handler):
    """Collects the sheets; the style of a hidden one says that it isn't displayed."""

    def __init__(self) -> None:
        self.sheets = list[SheetName]()
        self._style, self._hidden, self._depth = "", set[str](), 0

    def begins(self, element: str, attributes: dict[str, str]) -> None:
        self.row_ends()
        if element == f"{_STYLE}style":
            self._style = attributes.get(f"{_STYLE}name", "")
        elif element == f"{_STYLE}table-properties" and attributes.get(f"{_TABLE}display") == "false":
            self._hidden.add(self._style)
        elif element == f"{_TABLE}table":
            if self._depth == 0:
                name, style = (attributes.get(f"{_TABLE}{key}", "") for key in ("name", "style-name"))
                self.sheets.append(SheetName(name, style in self._hidden))
            self._depth += 1

    def ends(self, element: str) -> None:
        if element == f"{_TABLE}table":
            self._depth -= 1


@define
class _Rows(_Handler):
    name: str
    merged: list[Area] = field(factory=list)
    is_over: bool = False
    _in_table: bool = False
    _aside: int = 0
    """The number of open elements that are outside of a cell's text, or inside such an element."""
    _depth: int = 0
    """The number of open tables around the current element; a cell may contain a table."""
    _length: int = 0
    """Characters of the current row."""
    _number: int = 0
    _row: list[str | None] = field(factory=list)
    _row_times: int = 1
    _gap: int = 0
    """Empty cells since the last value."""
    _cell: dict[str, str] | None = None
    _text: list[str] | None = None
    _found: list[tuple[int, list[str | None], int]] = field(factory=list)

    def taken(self) -> list[tuple[int, list[str | None], int]]:
        """Return the complete rows, each with its number of repetitions, and forget them."""
        found, self._found = self._found, []
        return found

    def begins(self, element: str, attributes: dict[str, str]) -> None:
        if not self._in_table:
            is_sheet = element == f"{_TABLE}table" and self._depth == 0
            self._in_table = is_sheet and attributes.get(f"{_TABLE}name", "") == self.name
            self._depth += element == f"{_TABLE}table" and not self._in_table
        elif self._aside or element in _ASIDE or element.startswith(_DRAWN):
            self._aside += 1
        elif element == f"{_TABLE}table-row":
            self._row, self._gap, self._length = [], 0, 0
            self._row_times = _times(attributes, "number-rows-repeated", MOST_ROWS)
        elif element in _CELLS:
            self._cell, self._text = attributes, None
        elif element in (f"{_TEXT}p", f"{_TEXT}h"):
            if self._text is None:
                self._text = []
            else:
                self.says("\n")
        elif element == f"{_TEXT}s":
            self.says(" " * _times(attributes, "c", _MOST_TEXT + 1, _TEXT))
        elif element in (f"{_TEXT}tab", f"{_TEXT}line-break"):
            self.says("\t" if element.endswith("tab") else "\n")

    def says(self, text: str) -> None:
        if self._text is None or self._aside:
            return
        self._length += len(text)
        if self._length > _MOST_TEXT:
            raise ValueError(f"row {self._number + 1} has more than {_MOST_TEXT:,} characters")
        self._text.append(text)

    def ends(self, element: str) -> None:
        if not self._in_table:
            self._depth -= element == f"{_TABLE}table"
        elif self._aside:
            self._aside -= 1
        elif element == f"{_TABLE}table":
            self.is_over, self._in_table = True, False
        elif element in _CELLS:
            self._take_cell(is_covered=element != f"{_TABLE}table-cell")
        elif element == f"{_TABLE}table-row":
            self.row_ends()
            if self._row:
                if self._number + self._row_times > MOST_ROWS:
                    raise ValueError(f"it has more than {MOST_ROWS:,} rows")
                self._found.append((self._number + 1, self._row, self._row_times))
            self._number += self._row_times

    def _take_cell(self, *, is_covered: bool) -> None:
        assert self._cell is not None
        cell, text = self._cell, None if self._text is None else "".join(self._text)
        times = _times(cell, "number-columns-repeated", 2**31)
        value = None if is_covered else _value(cell, text)
        wide, high = (_times(cell, f"number-{what}-spanned", 2**31) for what in ("columns", "rows"))
        if wide * high > 1:
            top, left = self._number + 1, len(self._row) + self._gap + 1
            bottom = min(top + max(high, self._row_times) - 1, MOST_ROWS)
            self.merged.append(Area(top, bottom, left, min(left + wide - 1, MOST_COLUMNS)))
        if value is None:
            self._gap += times
        else:
            if len(self._row) + self._gap + times > MOST_COLUMNS:
                raise ValueError(f"row {self._number + 1} has more than {MOST_COLUMNS:,} columns")
            self._row += [None] * self._gap + [value] * times
            self._gap = 0
        self._cell = self._text = None


def _times(attributes: dict[str, str], name: str, most: int, space: str = _TABLE) -> int:
    """Return how often something is repeated. Raises ValueError."""
    times = int(attributes.get(f"{space}{name}", "1"))
    if times < 1:
        raise ValueError(f"{name} is {times}")
    return min(times, most)


def _value(cell: dict[str, str], text: str | None) -> str | None:
    kind = cell.get(f"{_OFFICE}value-type", "")
    is_error = f"{_TABLE}formula" in cell and _ERROR.fullmatch(text or "") is not None
    if cell.get(_CALC) == "error" or is_error:
        return ErrorText(text or "an error")
    if f"{_TABLE}formula" in cell and not kind and not text:
        return Unsaved(cell[f"{_TABLE}formula"])
    if kind in ("float", "percentage", "currency"):
        return _number(cell[f"{_OFFICE}value"])
    if kind == "date":
        date = cell[f"{_OFFICE}date-value"]
        if "T" not in date:
            return date
        try:
            return as_text(datetime.datetime.fromisoformat(date))
        except ValueError:
            return date.replace("T", " ")
    if kind == "time":
        return _duration(cell[f"{_OFFICE}time-value"])
    if kind == "boolean":
        return cell[f"{_OFFICE}boolean-value"]
    return as_text(cell.get(f"{_OFFICE}string-value", text))


def _number(text: str) -> str | None:
    """Return the number with all its digits, as in the file."""
    number = float(text)
    is_whole = number.is_integer() and abs(number) < 1e15
    return as_text(number) if is_whole or not _PLAIN.fullmatch(text) else text


def _duration(text: str) -> str:
    """Return the duration as hours, minutes and seconds."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:100]!r} is not a time")
    parts = {name: int(value or 0) for name, value in match.groupdict().items() if name != "part"}
    hours = 24 * parts["days"] + parts["hours"]
    shown = f"{hours:02}:{parts['minutes']:02}:{parts['seconds']:02}"
    fraction = (match["part"] or "").rstrip("0")[:6]
    return ("-" if text.startswith("-") else "") + shown + (f".{fraction:0<6}" if fraction else "")
