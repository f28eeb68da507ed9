"""The rows of one sheet as its file has them: openpyxl alone would drop or join those that are out of order."""

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from lume_local._worker.sources.source import SourceError

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


def sheet_rows(sheet: Any, shown: str) -> Iterator[tuple[int, list[Any]]]:
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
        for number, cells in parser.parse():
            if not last < number <= MOST_ROWS:
                raise SourceError(_wrong(shown, f"row {number} comes after row {last}"))
            last = number
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
