"""Reads workbooks of Excel since 2007 (.xlsx): their parts with openpyxl, their sheets here.

openpyxl would drop or join rows and cells that are out of order, and returns values or formulas, but not both.
"""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from attrs import define, field

from lume_local._shared.failing import on_error
from lume_local._worker.sources.formats.sheets.book import (
    EPOCHS,
    MOST_COLUMNS,
    MOST_MERGED,
    MOST_ROWS,
    Area,
    ErrorText,
    Row,
    SheetName,
    Unsaved,
    as_text,
    number_as_text,
)
from lume_local._worker.sources.formats.sheets.parts import MOST_STRINGS, Archive
from lume_local._worker.sources.source import Pause, SourceError

_ESCAPED = re.compile(r"_x((?!0000|[Dd][89A-Fa-f])[0-9A-Fa-f]{4})_")
"""Neither NUL nor half of a surrogate pair."""
_ROW, _VALUE, _FORMULA, _INLINE = (
    f"{{http://schemas.openxmlformats.org/spreadsheetml/2006/main}}{tag}" for tag in ("row", "v", "f", "is")
)


class XlsxBook:
    """See `Book`."""

    def __init__(self, path: Path, shown: str, pause: Pause, most: int) -> None:
        self._archive, self._shown = Archive(path, pause), shown
        with on_error(self._archive.close):
            self._parts = _parts_of(self._archive)
        self.sheets, self.charts = self._parts.sheets, self._parts.charts

    def rows(self, name: str) -> Generator[Row, None, None]:
        """Yield the existing rows; a formula has the value that was saved with it, or remains a formula."""
        from openpyxl.utils.cell import coordinate_to_tuple
        from openpyxl.xml.functions import iterparse

        with self._archive.open(self._parts.of_sheets[name]) as file:
            file.row_ends()
            cells, last = _Cells(self._parts), 0
            for _, element in iterparse(file):
                if element.tag != _ROW:
                    continue
                number = _row_number(element.get("r"), last)
                if not last < number <= MOST_ROWS:
                    raise self._wrong(f"row {number} comes after row {last}")
                last, column = number, 0
                row: list[str | None] = []
                for cell in element:
                    place = cell.get("r")
                    at, column = coordinate_to_tuple(place) if place else (number, column + 1)
                    if at != number or not len(row) < column <= MOST_COLUMNS:
                        where = f"column {column} of row {at}"
                        raise self._wrong(f"{where} comes in row {number} after column {len(row)}")
                    row.extend([None] * (column - len(row) - 1))
                    row.append(cells.text(cell, place or ""))
                element.clear()
                file.row_ends()
                yield number, row

    def _wrong(self, what: str) -> SourceError:
        return SourceError(
            f"{self._shown} is not a valid Excel workbook: {what}. Open and save the file in Excel"
        )

    def merged(self, name: str) -> list[Area]:
        found = list[Area]()

        def begins(element: str, attributes: dict[str, str]) -> None:
            file.row_ends()
            if element.rpartition(":")[2] == "mergeCell":
                found.append(Area.of(attributes.get("ref", "")))
                if len(found) > MOST_MERGED:
                    raise ValueError(f"a sheet has more than {MOST_MERGED:,} merged cells")

        parser = expat.ParserCreate()
        parser.StartElementHandler = begins
        with self._archive.open(self._parts.of_sheets[name]) as file:
            file.row_ends()
            parser.ParseFile(file)
        return found

    def close(self) -> None:
        self._archive.close()


@define
class XlsxParts:
    """The parts of a workbook around its sheets.

    Attributes:
        of_sheets: the part of each sheet with cells, by name.
        charts: the sheets without cells.
        formats: the number format of each style.
    """

    is_1904: bool
    sheets: list[SheetName] = field(factory=list)
    of_sheets: dict[str, str] = field(factory=dict)
    charts: list[str] = field(factory=list)
    strings: list[str] = field(factory=list)
    formats: list[str] = field(factory=list)


def _parts_of(archive: Archive) -> XlsxParts:
    """Read the parts around the sheets, by openpyxl's own reader but without its sheets."""
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.reader.strings import read_string_table
    from openpyxl.xml.constants import SHARED_STRINGS

    class Reader(ExcelReader):
        def __init__(self) -> None:
            self.archive, self.valid_files = archive, archive.namelist()
            self.read_only = self.data_only = True
            self.keep_vba = self.keep_links = self.rich_text = False

    reader: Any = Reader()
    reader.read_manifest()
    reader.read_workbook()
    found = XlsxParts(reader.wb.epoch == EPOCHS[1], formats=_formats(archive))
    if (part := reader.package.find(SHARED_STRINGS)) is not None:
        archive.check(part.PartName[1:], MOST_STRINGS)
        with archive.open(part.PartName[1:]) as file:
            found.strings = read_string_table(file)
    for sheet, place in reader.parser.find_sheets():
        if place.target not in reader.valid_files:
            continue
        if "chartsheet" in place.Type:
            found.charts.append(sheet.name)
        else:
            found.sheets.append(SheetName(sheet.name, sheet.state != "visible"))
            found.of_sheets.setdefault(sheet.name, place.target)
    return found


def _formats(archive: Archive) -> list[str]:
    from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE
    from openpyxl.styles.stylesheet import Stylesheet
    from openpyxl.xml.constants import ARC_STYLE
    from openpyxl.xml.functions import fromstring

    if ARC_STYLE not in archive.namelist():
        return ["General"]
    node: Any = fromstring(archive.read(ARC_STYLE))
    sheet: Any = Stylesheet.from_tree(node)
    numbers = [style.numFmtId for style in sheet.cell_styles]
    return [
        BUILTIN_FORMATS.get(one, "General")
        if one < BUILTIN_FORMATS_MAX_SIZE
        else sheet.number_formats[one - BUILTIN_FORMATS_MAX_SIZE]
        for one in numbers
    ] or ["General"]


def _row_number(given: str | None, last: int) -> int:
    if given is None:
        return last + 1
    try:
        return int(given)
    except ValueError:
        if not float(given).is_integer():
            raise
        return int(float(given))


class _Cells:
    """Converts the cells of one sheet to text."""

    def __init__(self, parts: XlsxParts) -> None:
        self._parts = parts
        self._shared: dict[str | None, tuple[str, str]] = {}
        """Formulas that several cells share, each with the cell that it is written for."""

    def text(self, cell: Any, place: str) -> str | None:
        """Return the text of a cell: its value, or the formula if no value was saved."""
        kind, style = cell.get("t", "n"), int(cell.get("s") or 0)
        if not 0 <= style < len(self._parts.formats):
            raise ValueError(f"a cell has the style {style}, and there are {len(self._parts.formats)}")
        value: Any = None if kind == "inlineStr" else cell.findtext(_VALUE) or None
        formula = cell.find(_FORMULA)
        if formula is not None and formula.get("t") == "shared" and formula.text:
            self._shared.setdefault(formula.get("si"), (f"={formula.text}", place))
        if kind == "inlineStr" and (inline := cell.find(_INLINE)) is not None:
            from openpyxl.cell.text import Text

            text: Any = Text.from_tree(inline)
            value = text.content
        if kind == "e":
            return ErrorText(value or "an error")
        if value is None:
            is_unsaved = formula is not None and kind != "str"  # else the value is an empty string
            return Unsaved(self._formula(formula, place)) if is_unsaved else None
        if kind == "n":
            number = float(value) if any(one in value for one in ".eE") else int(value)
            return number_as_text(number, self._parts.formats[style], is_1904=self._parts.is_1904)
        if kind == "s":
            strings, n = self._parts.strings, int(value)
            if not 0 <= n < len(strings):
                raise ValueError(f"a cell has the shared string {n}, and there are {len(strings)}")
            value = strings[n]
        elif kind == "b":
            return as_text(bool(int(value)))
        elif kind == "d":
            from openpyxl.utils.datetime import from_ISO8601

            parsed: Any = from_ISO8601(value)  # type: ignore[no-untyped-call]
            return as_text(parsed, self._parts.formats[style])
        if "_x" in value:  # characters that XML can't contain are escaped as `_x000D_`
            value = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
        return as_text(value)

    def _formula(self, formula: Any, place: str) -> str:
        written, origin = (
            self._shared.get(formula.get("si"), ("", "")) if formula.get("t") == "shared" else ("", "")
        )
        if not written or origin == place:
            return f"={formula.text or ''}"
        from openpyxl.formula.translate import Translator

        return str(Translator(written, origin).translate_formula(place))
