"""An Excel source: one sheet of a workbook, its values as texts. Needs the extra `excel`.

The rows are those that the file has: openpyxl alone would drop or join those that are out of order.
"""

import datetime
import zipfile
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._shared import magic
from lume_local._worker.sources.formats.names import layout_of_table, readable, visible_columns
from lume_local._worker.sources.formats.rows_file import RowsFile
from lume_local._worker.sources.formats.sheet_table import table_of_sheet
from lume_local._worker.sources.formats.workbook import Archive, PartTooLarge, open_book
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout

_WHOLE = 1e15
"""Below it every whole number is a number of its own."""
_TROUBLE = (
    zipfile.BadZipFile,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    SyntaxError,
    EOFError,
)
"""What openpyxl raises for files that are no workbooks."""


def read_excel(reading: Reading) -> Layout:
    """Read the sheet; a row of it names the columns, blank rows are skipped. Raises `SourceError`."""
    return read_sheet(reading, None)


def read_sheet(reading: Reading, most: int | None) -> Layout:
    """The same of `most` rows, or of all. Raises `SourceError`."""
    flow = reading.flow
    header, rows = table_of_sheet(rows_of(reading), flow, reading.shown, reading.account)
    names = readable(header)
    visible = visible_columns(flow, names, reading.shown)
    with closing(RowsFile(reading.folder / "rows", len(names))) as file:
        for number, cells in islice(rows, most):
            _take(reading, file, number, cells, len(names))
    return layout_of_table(file.reader, flow, names, visible)


def _take(reading: Reading, file: RowsFile, number: int, cells: list[Any], width: int) -> None:
    reading.account.records += 1
    values = [as_text(cell) for cell in cells]
    if why := _why_malformed(cells, width, reading.flow["null"]):
        reading.malformed.add(
            number, why, ",".join(value or "" for value in values).encode("utf-8", "replace")
        )
        return
    file.write([*values[:width], *[None] * (width - len(values))])


def _why_malformed(cells: list[Any], width: int, null: list[str]) -> str:
    if any(cell.value is not None for cell in cells[width:]):
        return "too many columns"
    for cell in cells:
        if cell.data_type == "e" and cell.value not in null:
            return f"{cell.coordinate} contains the error {cell.value}"
        if cell.data_type == "f":
            return (
                f"{cell.coordinate} contains a formula without a saved value: open and save the file in Excel"
            )
    return ""


def rows_of(reading: Reading) -> Generator[tuple[int, list[Any]], None, None]:
    """The rows with their numbers; a formula has the value that was saved with it, or stays a formula."""
    shown = reading.shown
    try:
        with Archive(reading.path, reading.pause) as archive:
            _check_size(archive, reading)
            # Twice, as openpyxl gives either saved values or formulas: an empty value would hide an unsaved formula.
            book = open_book(archive, data_only=True)
            sheet = _sheet(book, reading)
            other = _sheet(open_book(archive, data_only=False, strings=sheet._shared_strings), reading)
            with closing(sheet_rows(sheet, shown)) as rows, closing(sheet_rows(other, shown)) as others:
                for (number, values), (_, formulas) in zip(rows, others, strict=True):
                    yield number, [_saved(one, other) for one, other in zip(values, formulas, strict=True)]
    except MemoryError:
        raise SourceError(f"{shown} needs more memory than a run has: save it as CSV") from None
    except PartTooLarge as error:
        raise SourceError(
            f"{shown} is not read: {error}. Save it as CSV if it is meant to be so large"
        ) from None
    except _TROUBLE as error:
        raise SourceError(f"{shown} {what_else(reading.path) or _damaged(error)}") from None


_DOCUMENTS = {
    "xl/workbook.bin": "a binary workbook (.xlsb)",
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a presentation",
}


def what_else(path: Path) -> str:
    """What a file is that is no workbook, and what to do; empty for a damaged workbook."""
    with path.open("rb") as file:
        kind = magic.kind_of(file.read(magic.LENGTH))
    if kind != magic.ZIP:
        return f"is {kind or 'a text file'}, {_NOT_ONE}: {_SAVE if kind else _TEXT}"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            form = archive.read("mimetype") if "mimetype" in names else b""
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return f"is a damaged ZIP archive, {_NOT_ONE}: copy it again"
    if form.startswith(b"application/vnd.oasis.opendocument"):
        return f"is an OpenDocument file (such as .ods), {_NOT_ONE}: {_SAVE}"
    if found := next((what for name, what in _DOCUMENTS.items() if name in names), ""):
        return f"is {found}, {_NOT_ONE}: {_SAVE}"
    if "xl/workbook.xml" in names:
        return ""
    inside = [name for name in names if not name.endswith("/")]
    listed = ", ".join(map(repr, inside[:3])) + (", …" if len(inside) > 3 else "")
    return f"is a ZIP archive of {listed or 'nothing'}, {_NOT_ONE}: unpack it, and use the file that you mean"


_NOT_ONE = "not an Excel workbook (.xlsx)"
_TEXT = 'if it is CSV, use a flow version with format = "csv"'
_SAVE = "open it in a spreadsheet, and save it as .xlsx or CSV"


def _damaged(error: Exception) -> str:
    return f"is an Excel workbook that can't be read ({error}): open it in Excel, and save it again"


def _saved(value: Any, formula: Any) -> Any:
    return formula if formula.data_type == "f" and value.value is None else value


def _check_size(archive: Archive, reading: Reading) -> None:
    if archive.unpacked_bytes > reading.flow["max_unpacked_bytes"]:
        raise SourceError(
            f"{reading.shown} unpacks to {archive.unpacked_bytes:,} bytes, more than source.max_unpacked_bytes allows"
        )


def _sheet(book: Any, reading: Reading) -> Any:
    name: str = reading.flow["sheet"]
    if not book.worksheets:
        raise SourceError(f"{reading.shown} has no sheet with cells")
    if not name:
        return book.worksheets[0]
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name not in sheets:
        without = "is a chart" if name in book.sheetnames else "is not there"
        raise SourceError(
            f"{reading.shown} has no sheet {name!r} with cells ({without}), but {', '.join(map(repr, sheets))}"
        )
    return sheets[name]


def as_text(cell: Any) -> str | None:
    """The value of a cell as expressions see it."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return str(int(value))
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if _is_day(cell) else value.isoformat(" ")
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _is_day(cell: Any) -> bool:
    """Whether the cell shows a date without a time of day, and has none."""
    from openpyxl.styles.numbers import is_datetime

    return is_datetime(cell.number_format) == "date" and bool(cell.value.time() == datetime.time())


MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
"""Excel's own limits."""


@frozen
class Strings:
    """The shared strings of a workbook; a negative number is refused."""

    texts: list[str]

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self.texts):
            raise ValueError(f"a cell has the shared string {number}, and there are {len(self.texts)}")
        return self.texts[number]


def sheet_rows(sheet: Any, shown: str) -> Generator[tuple[int, list[Any]]]:
    """The rows that the file has, with their numbers; cells that it leaves out are empty. Raises `SourceError`."""
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
                _ = row[-1].style_array  # an index of another table
            yield number, row


def _wrong(shown: str, what: str) -> str:
    return f"{shown} is not a valid Excel workbook: {what}. Open and save the file in Excel"
