"""Reads workbooks of Excel up to 2003 (.xls) with xlrd, which preserves error cells, formats and blanks."""

from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

from lume_local._shared.failing import require
from lume_local._worker.sources.formats.sheets.book import (
    Area,
    ErrorText,
    Row,
    SheetName,
    as_text,
    number_as_text,
)
from lume_local._worker.sources.source import Pause, SourceError

_PAUSE_AFTER = 1000
"""In rows."""


class _Nowhere:
    """Discards xlrd's notes about odd files, which it prints to stdout by default."""

    def write(self, text: str) -> int:
        return len(text)


class XlsBook:
    """See `Book`."""

    def __init__(self, path: Path, shown: str, pause: Pause, most: int) -> None:
        require("xlrd", "excel", "a workbook of the kind .xls")
        import xlrd

        self._pause = pause
        try:
            self._book: Any = xlrd.open_workbook(
                str(path), logfile=_Nowhere(), on_demand=True, formatting_info=True, ragged_rows=True
            )
        except Exception as error:
            raise _reported(error, shown) from None
        self._shown = shown
        states: list[int] = self._book._sheet_visibility
        self.sheets = [
            SheetName(name, state != 0) for name, state in zip(self._book.sheet_names(), states, strict=True)
        ]
        self.charts: list[str] = []

    def rows(self, name: str) -> Generator[Row, None, None]:
        sheet = self._sheet(name)

        @cache
        def format_of(style: int) -> str:
            key = self._book.xf_list[style].format_key
            return str(self._book.format_map[key].format_str)

        for n in range(sheet.nrows):
            if n % _PAUSE_AFTER == 0:
                self._pause()
            cells = zip(sheet.row_types(n), sheet.row_values(n), sheet._cell_xf_indexes[n], strict=True)
            yield n + 1, [self._value(kind, value, style, format_of) for kind, value, style in cells]

    def _value(self, kind: int, value: Any, style: int, format_of: Any) -> str | None:
        import xlrd

        if kind in (xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE):
            return number_as_text(value, format_of(style), is_1904=self._book.datemode == 1)
        if kind == xlrd.XL_CELL_ERROR:
            return ErrorText(xlrd.error_text_from_code.get(value, "#N/A"))
        if kind == xlrd.XL_CELL_BOOLEAN:
            return as_text(bool(value))
        return as_text(value)

    def merged(self, name: str) -> list[Area]:
        found = self._sheet(name).merged_cells
        return [Area(top + 1, bottom, left + 1, right) for top, bottom, left, right in found]

    def _sheet(self, name: str) -> Any:
        try:
            return self._book.sheet_by_name(name)
        except Exception as error:
            raise _reported(error, self._shown) from None

    def close(self) -> None:
        self._book.release_resources()


def _reported(error: Exception, shown: str) -> Exception:
    """Convert xlrd's varied errors about a damaged file to one that is reported as such."""
    if isinstance(error, MemoryError | OSError):
        return error
    if "encrypted" in str(error):
        return SourceError(f"{shown} is encrypted: save it without a password")
    return ValueError(str(error) or "its parts contradict each other")
