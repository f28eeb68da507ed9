"""Reads binary workbooks of Excel (.xlsb): cells, errors and formats come from the records of the file.

The format is [MS-XLSB], published by Microsoft. Libraries return errors as empty cells or as text, and no formats.
"""

import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._shared.failing import on_error
from lume_local._worker.sources.formats.sheets.book import (
    MOST_COLUMNS,
    MOST_MERGED,
    MOST_ROWS,
    Area,
    ErrorText,
    Row,
    SheetName,
    as_text,
    number_as_text,
)
from lume_local._worker.sources.formats.sheets.parts import MOST_STRINGS, Archive
from lume_local._worker.sources.source import Pause

_BLOCK = 64 * 1024
_WORKBOOK, _RELATIONS = "xl/workbook.bin", "xl/_rels/workbook.bin.rels"
_ROW, _FIRST_CELL, _LAST_CELL, _RICH = 0, 1, 11, 62
_BLANK, _RK, _ERROR, _BOOLEAN, _REAL, _STRING, _SHARED = range(1, 8)
_FORMULAS = {8: _STRING, 9: _REAL, 10: _BOOLEAN, 11: _ERROR}
"""Cells with the value of a formula, by the kind of that value."""
_SHORT = range(12, 19)
_SHARED_ITEM, _FORMAT, _STYLE, _MERGED = 19, 44, 47, 176
_SHEET_DATA_ENDS, _PROPERTIES, _SHEET, _STYLES, _STYLES_END = 146, 153, 156, 617, 618
_ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
}
_OF_BOOK = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


@frozen
class _Relation:
    kind: str
    part: str


class XlsbBook:
    """See `Book`."""

    def __init__(self, path: Path, shown: str, pause: Pause, most: int) -> None:
        self._archive, self._strings = Archive(path, pause), list[str]()
        self._parts = dict[str, str]()
        self.sheets, self.charts = list[SheetName](), list[str]()
        self._is_1904 = False
        with on_error(self._archive.close):
            relations = self._relations()
            for kind, data in self._records(_WORKBOOK):
                if kind == _PROPERTIES:
                    self._is_1904 = bool(data[0] & 1)
                elif kind == _SHEET:
                    (state,) = struct.unpack_from("<I", data)
                    relation_id, at = _text_at(data, 8)
                    name, _ = _text_at(data, at)
                    relation = relations[relation_id]
                    if relation.kind == "worksheet":
                        self.sheets.append(SheetName(name, state != 0))
                        self._parts[name] = relation.part
                    else:
                        self.charts.append(name)
            self._formats = self._read_formats(relations)
            for part in self._parts_of(relations, "sharedStrings"):
                self._archive.check(part, MOST_STRINGS)
                items = (data for kind, data in self._records(part) if kind == _SHARED_ITEM)
                self._strings += [_text_at(data, 1)[0] for data in items]

    def _relations(self) -> dict[str, _Relation]:
        from xml.etree import ElementTree

        found = {}
        for one in ElementTree.fromstring(self._archive.read(_RELATIONS)).iter(_OF_BOOK):  # noqa: S314
            target = one.attrib["Target"]
            part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            found[one.attrib["Id"]] = _Relation(one.attrib["Type"].rpartition("/")[2], part)
        return found

    def _parts_of(self, relations: dict[str, _Relation], kind: str) -> list[str]:
        """Return the existing parts: a workbook without strings may name a part for them that is missing."""
        there = set(self._archive.namelist())
        return [one.part for one in relations.values() if one.kind == kind and one.part in there]

    def _records(self, part: str) -> Iterator[tuple[int, bytes]]:
        with self._archive.open(part) as file:
            yield from records(file)

    def _read_formats(self, relations: dict[str, _Relation]) -> list[str]:
        """Return the number format of each cell style."""
        from openpyxl.styles.numbers import BUILTIN_FORMATS

        named: dict[int, str] = dict(BUILTIN_FORMATS)
        found, in_styles = list[str](), False
        for part in self._parts_of(relations, "styles"):
            for kind, data in self._records(part):
                if kind == _FORMAT:
                    named[struct.unpack_from("<H", data)[0]] = _text_at(data, 2)[0]
                elif kind in (_STYLES, _STYLES_END):
                    in_styles = kind == _STYLES
                elif kind == _STYLE and in_styles:
                    found.append(named.get(struct.unpack_from("<H", data, 2)[0], "General"))
        return found

    def rows(self, name: str) -> Generator[Row, None, None]:
        number, values = 0, list[str | None]()
        with self._archive.open(self._parts[name]) as file:
            for kind, data in records(file):
                if kind == _ROW:
                    if values:
                        yield number, values
                    row = struct.unpack_from("<I", data)[0] + 1
                    if not number < row <= MOST_ROWS:
                        raise ValueError(f"row {row} comes after row {number}")
                    number, values = row, []
                    file.row_ends()
                elif _FIRST_CELL <= kind <= _LAST_CELL or kind == _RICH:
                    column, style = struct.unpack_from("<II", data)
                    if not len(values) <= column < MOST_COLUMNS:
                        raise ValueError(f"column {column + 1} of row {number} comes after {len(values)}")
                    values.extend([None] * (column - len(values)))
                    values.append(self._value(kind, data, style & 0xFFFFFF))
                elif kind in _SHORT:
                    raise ValueError(f"row {number} has a cell of the kind {kind}")
                elif kind == _SHEET_DATA_ENDS:
                    break
        if values:
            yield number, values

    def _value(self, kind: int, data: bytes, style: int) -> str | None:
        if kind == _RICH:
            return as_text(_text_at(data, 9)[0])
        kind = _FORMULAS.get(kind, kind)
        if kind == _BLANK:
            return None
        if kind == _STRING:
            return as_text(_text_at(data, 8)[0])
        if kind == _SHARED:
            return as_text(self._strings[struct.unpack_from("<I", data, 8)[0]])
        if kind == _BOOLEAN:
            return as_text(bool(data[8]))
        if kind == _ERROR:
            return ErrorText(_ERRORS.get(data[8], "#N/A"))
        number = _rk(data) if kind == _RK else struct.unpack_from("<d", data, 8)[0]
        return number_as_text(number, self._formats[style] if self._formats else "", is_1904=self._is_1904)

    def merged(self, name: str) -> list[Area]:
        found = list[Area]()
        with self._archive.open(self._parts[name]) as file:
            for kind, data in records(file):
                if kind == _ROW:
                    file.row_ends()
                elif kind == _MERGED:
                    top, bottom, left, right = (n + 1 for n in struct.unpack_from("<4I", data))
                    found.append(Area(top, min(bottom, MOST_ROWS), left, min(right, MOST_COLUMNS)))
                    if len(found) > MOST_MERGED:
                        raise ValueError(f"a sheet has more than {MOST_MERGED:,} merged cells")
        return found

    def close(self) -> None:
        self._archive.close()


def records(file: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a part: kind and data. Raises ValueError, IndexError for a damaged part."""
    data, at = b"", 0
    while True:
        if len(data) - at < 6:  # the longest header of a record
            data, at = data[at:] + file.read(_BLOCK), 0
            if not data:
                return
        kind, at = _number_at(data, at, 2)
        size, at = _number_at(data, at, 4)
        if len(data) - at < size:
            pieces, have = [data[at:]], len(data) - at
            while have < size and (block := file.read(_BLOCK)):
                pieces.append(block)
                have += len(block)
            data, at = b"".join(pieces), 0
            if have < size:
                raise ValueError(f"a record of {size:,} bytes has {have:,}")
        yield kind, data[at : at + size]
        at += size


def _number_at(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Return a number stored in up to `most` bytes with seven bits each, and where it ends."""
    number = 0
    for n in range(most):
        byte = data[at + n]
        number |= (byte & 0x7F) << 7 * n
        if byte < 0x80 or n == most - 1:
            return number, at + n + 1
    raise AssertionError


def _text_at(data: bytes, at: int) -> tuple[str, int]:
    """Return a UTF-16 string that follows its length, and where it ends. Raises ValueError."""
    (length,) = struct.unpack_from("<I", data, at)
    end = at + 4 + 2 * length
    if length == 0xFFFFFFFF:  # no string
        return "", at + 4
    if end > len(data):
        raise ValueError("a string is longer than its record")
    return data[at + 4 : end].decode("utf-16-le"), end


def _rk(data: bytes) -> float:
    """Return a number stored in 30 bits: an integer, or the upper bits of a double; either may be divided by 100."""
    (bits,) = struct.unpack_from("<I", data, 8)
    if bits & 2:
        (whole,) = struct.unpack_from("<i", data, 8)
        number = float(whole >> 2)
    else:
        (number,) = struct.unpack("<d", b"\0\0\0\0" + struct.pack("<I", bits & 0xFFFFFFFC))
    return number / 100 if bits & 1 else number
