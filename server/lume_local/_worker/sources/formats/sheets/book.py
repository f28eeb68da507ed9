"""The interface of a workbook to what reads its sheets. A kind of workbook is one file beside this one."""

from collections.abc import Generator
from typing import Protocol

from attrs import frozen

from lume_local._worker.sources.formats.sheets.area import Area, Row


@frozen
class SheetName:
    """A sheet with cells; `is_hidden` if nobody sees it who opens the workbook."""

    name: str
    is_hidden: bool = False


class Book(Protocol):
    """A workbook that is open.

    Its readers raise `SourceError`, or any of `trouble.TROUBLE` for a file that is damaged.

    Attributes:
        sheets: those with cells, in their order.
        charts: the names of those without.
    """

    sheets: list[SheetName]
    charts: list[str]

    def rows(self, name: str) -> Generator[Row, None, None]:
        """The rows that the sheet has, with their numbers, in their order; cells that it leaves out are None.

        A cell may hold an `ErrorText` or `Unsaved`.
        """
        ...

    def merged(self, name: str) -> list[Area]:
        """Where cells of the sheet were merged."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...
