"""The interface of a workbook for reading its sheets. Each kind of workbook is one file beside this one."""

from collections.abc import Generator
from typing import Protocol

from attrs import frozen

from lume_local._worker.sources.formats.sheets.area import Area, Row


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
        ...
