"""A workbook as openpyxl gives it, but bounded: a zip archive of a few megabytes can unpack to anything.

Each part is measured before it is read, and is read with pauses, so that a run that is cancelled ends at once.
"""

import zipfile
from pathlib import Path
from typing import Any

from lume_local._worker.sources.source import Pause, SourceError, no_pause

_MOST_WHOLE = 32 * 1024**2
_MOST_STRINGS = 512 * 1024**2
_MOST_STREAMED = 2 * 1024**3
_MOST_BETWEEN_ROWS = 64 * 1024**2
"""Bytes, unpacked: of a part that is read at once; of the shared strings, which are held in memory; of a sheet; and
of a sheet from the end of one row to the end of the next, which the parser holds."""


class PartTooLarge(SourceError):
    """A part has more than is read of any. The message says which, and how much."""


class Archive(zipfile.ZipFile):
    """The parts of a workbook.

    Args:
        pause: called with every block that is read.
    """

    def __init__(self, path: Path, pause: Pause = no_pause) -> None:
        super().__init__(path)
        self._pause = pause

    @property
    def unpacked_bytes(self) -> int:
        """The size of all parts, once they are unpacked."""
        return sum(part.file_size for part in self.infolist())

    def check(self, name: str, most: int) -> None:
        """Raises `PartTooLarge`. The size is the one in the archive's directory: no more is unpacked."""
        size = self.getinfo(name).file_size
        if size > most:
            raise PartTooLarge(
                f"{name[:100]} in it unpacks to {size:,} bytes, and a part like it has at most {most:,}"
            )

    def read(self, name: Any, pwd: bytes | None = None) -> bytes:
        """A whole part."""
        self.check(name, _MOST_WHOLE)
        return super().read(name, pwd)

    def open(self, name: Any, *args: Any, **options: Any) -> Any:
        """A part that is read block by block."""
        self.check(name, _MOST_STREAMED)
        return BookPart(super().open(name, *args, **options), name, self._pause)


class BookPart:
    """One part that is being read."""

    def __init__(self, file: Any, name: str, pause: Pause) -> None:
        self._file, self._name, self._pause = file, name, pause
        self._left: int | None = None

    def __enter__(self) -> "BookPart":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def row_ends(self) -> None:
        """The next row may begin: from here on, each has a limit."""
        self._left = _MOST_BETWEEN_ROWS

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        self._pause()
        block: bytes = self._file.read(size)
        if self._left is not None:
            self._left -= len(block)
            if self._left < 0:
                raise PartTooLarge(
                    f"{self._name[:100]} in it has a row of more than {_MOST_BETWEEN_ROWS:,} bytes"
                )
        return block


def open_book(archive: Archive, *, data_only: bool, strings: list[str] | None = None) -> Any:
    """The workbook, as `openpyxl.load_workbook` gives it. Its chart sheets have no cells and are skipped.

    Args:
        data_only: whether a formula has the value that was saved with it.
        strings: the shared strings, if they are known.
    """
    from openpyxl.chartsheet import Chartsheet
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet
    from openpyxl.xml.constants import SHARED_STRINGS

    class Sheet(ReadOnlyWorksheet):
        def _get_size(self) -> None:
            """Not needed, and a sheet that does not state its size would be read to its end."""

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
                archive.check(part.PartName[1:], _MOST_STRINGS)
                super().read_strings()

        def read_worksheets(self) -> None:
            book: Any = self.wb
            for sheet, place in self.parser.find_sheets():
                if place.target not in self.valid_files:
                    continue
                if "chartsheet" in place.Type:
                    book._add_sheet(Chartsheet(parent=book, title=sheet.name))
                else:
                    book._sheets.append(Sheet(book, sheet.name, place.target, self.shared_strings))

    reader = Reader()
    reader.read()
    return reader.wb
