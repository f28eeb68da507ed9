"""Reads workbooks of Excel since 2007 (.xlsx) with openpyxl, keeping the file's own rows.

openpyxl alone would drop or join rows and cells that are out of order.
"""

import datetime
import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.parsers import expat

from attrs import frozen

from lume_local._shared.on_error import on_error
from lume_local._worker.sources.formats.sheets.area import MOST_COLUMNS, MOST_MERGED, MOST_ROWS, Area, Row
from lume_local._worker.sources.formats.sheets.book import SheetName
from lume_local._worker.sources.formats.sheets.parts import MOST_STRINGS, Archive
from lume_local._worker.sources.formats.sheets.values import ErrorText, Unsaved, as_text
from lume_local._worker.sources.source import Pause, SourceError

_ESCAPED = re.compile(r"_x((?!0000|[Dd][89A-Fa-f])[0-9A-Fa-f]{4})_")
"""Neither NUL nor half of a surrogate pair."""


class XlsxBook:
    """See `Book`."""

    def __init__(self, path: Path, shown: str, pause: Pause, most: int) -> None:
        self._archive, self._shown = Archive(path, pause), shown
        self._formulas: Any = None
        with on_error(self._archive.close):
            self._values = open_book(self._archive, data_only=True)
        sheets = self._values.worksheets
        self.sheets = [SheetName(one.title, one.sheet_state != "visible") for one in sheets]
        with_cells = {one.title for one in sheets}
        self.charts = [name for name in self._values.sheetnames if name not in with_cells]

    def rows(self, name: str) -> Generator[Row, None, None]:
        """Yield the rows; a formula has the value that was saved with it, or remains a formula.

        The sheet is read twice, as openpyxl returns values or formulas: an empty value would hide an unsaved one.
        """
        sheet = self._values[name]
        if self._formulas is None:
            self._formulas = open_book(self._archive, data_only=False, strings=sheet._shared_strings)
        other = self._formulas[name]
        with (
            closing(sheet_rows(sheet, self._shown)) as rows,
            closing(sheet_rows(other, self._shown)) as others,
        ):
            for (number, values), (_, formulas) in zip(rows, others, strict=True):
                yield number, [_text(one, formula) for one, formula in zip(values, formulas, strict=True)]

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
        with self._values[name]._get_source() as file:
            file.row_ends()
            parser.ParseFile(file)
        return found

    def close(self) -> None:
        self._archive.close()


def _text(value: Any, formula: Any) -> str | None:
    if value.data_type == "e":
        return ErrorText(value.value or "an error")
    is_unsaved = value.value is None and formula.data_type == "f" and value.data_type != "str"
    if is_unsaved:  # else the value is an empty string
        return Unsaved(formula.value)
    if isinstance(value.value, datetime.datetime):  # for other values this is slow and has no effect
        return as_text(value.value, value.number_format)
    return as_text(_unescaped(value.value))


def _unescaped(value: Any) -> Any:
    """Return a string with the characters that are escaped as `_x000D_`, as XML can't contain them."""
    if not isinstance(value, str) or "_x" not in value:
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)


@frozen
class Strings:
    """The shared strings of a workbook; a negative number is refused."""

    texts: list[str]

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self.texts):
            raise ValueError(f"a cell has the shared string {number}, and there are {len(self.texts)}")
        return self.texts[number]


def sheet_rows(sheet: Any, shown: str) -> Generator[tuple[int, list[Any]]]:
    """Yield the existing rows with their numbers; missing cells are empty. Raises `SourceError`."""
    from openpyxl.cell.read_only import EMPTY_CELL, ReadOnlyCell
    from openpyxl.worksheet._reader import WorkSheetParser

    book = sheet.parent
    with sheet._get_source() as file:
        parser = WorkSheetParser(
            file,
            Strings(sheet._shared_strings),
            data_only=book.data_only,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        last = 0
        file.row_ends()
        for number, cells in parser.parse():
            if not last < number <= MOST_ROWS:
                raise SourceError(_wrong(shown, f"row {number} comes after row {last}"))
            last = number
            file.row_ends()
            row: list[Any] = []
            for cell in cells:
                column = cell["column"]
                if cell["row"] != number or not len(row) < column <= MOST_COLUMNS:
                    where = f"column {column} of row {cell['row']}"
                    raise SourceError(_wrong(shown, f"{where} comes in row {number} after column {len(row)}"))
                row.extend([EMPTY_CELL] * (column - len(row) - 1))
                row.append(ReadOnlyCell(sheet, **cell))
                _ = row[-1].style_array  # fails if the workbook lacks the style
            yield number, row


def _wrong(shown: str, what: str) -> str:
    return f"{shown} is not a valid Excel workbook: {what}. Open and save the file in Excel"


def open_book(archive: Archive, *, data_only: bool, strings: list[str] | None = None) -> Any:
    """Open the workbook as `openpyxl.load_workbook` does, without its chart sheets, which have no cells.

    Args:
        data_only: whether a formula has the value that was saved with it.
        strings: the shared strings, if known.
    """
    from openpyxl.chartsheet import Chartsheet
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet
    from openpyxl.xml.constants import SHARED_STRINGS

    class Sheet(ReadOnlyWorksheet):
        def _get_size(self) -> None:
            """Do nothing: the size isn't needed, and a sheet that doesn't state it would be read to its end."""

    class Reader(ExcelReader):
        def __init__(self) -> None:
            self.archive, self.valid_files = archive, archive.namelist()
            self.read_only, self.data_only = True, data_only
            self.keep_vba = self.keep_links = self.rich_text = False
            self.shared_strings: list[str] = strings or []

        def read_strings(self) -> None:
            manifest: Any = self.package
            part = manifest.find(SHARED_STRINGS)
            if strings is None and part is not None:
                archive.check(part.PartName[1:], MOST_STRINGS)
                super().read_strings()

        def read_worksheets(self) -> None:
            book: Any = self.wb
            for sheet, place in self.parser.find_sheets():
                if place.target not in self.valid_files:
                    continue
                if "chartsheet" in place.Type:
                    book._add_sheet(Chartsheet(parent=book, title=sheet.name))
                else:
                    page: Any = Sheet(book, sheet.name, place.target, self.shared_strings)
                    page.sheet_state = sheet.state
                    book._sheets.append(page)

    reader = Reader()
    reader.read()
    return reader.wb
