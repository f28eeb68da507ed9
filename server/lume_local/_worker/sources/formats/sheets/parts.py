"""The parts of a workbook that is a ZIP archive, with limits: a few megabytes can unpack to any size.

Each part is measured before it is read, and is read with pauses, so that a cancelled run ends at once.
"""

import zipfile
from pathlib import Path
from typing import Any

from lume_local._shared.failing import on_error
from lume_local._worker.sources.places.unpack import BoundedFile
from lume_local._worker.sources.source import Pause, SourceError, no_pause

_MOST_WHOLE = 32 * 1024**2
MOST_STRINGS = 512 * 1024**2
_MOST_STREAMED = 2 * 1024**3
_MOST_BETWEEN_ROWS = 64 * 1024**2
"""Unpacked bytes: a part that is read at once; the shared strings, which are held in memory; a sheet; and a sheet
between the ends of two rows, which the parser holds.
"""


class PartTooLarge(SourceError):
    """A part exceeds its limit; the message names the part and its size."""


class Archive(zipfile.ZipFile):
    """The parts of a workbook.

    Args:
        pause: called with every block that is read.
    """

    def __init__(self, path: Path, pause: Pause = no_pause) -> None:
        self._held = BoundedFile.of(path)
        with on_error(self._held.close):
            super().__init__(self._held)
        self._pause = pause
        for part in self.infolist():  # some programs write backslashes, against the standard
            part.filename = part.filename.replace("\\", "/")
            self.NameToInfo[part.filename] = part

    def close(self) -> None:
        super().close()
        if held := getattr(self, "_held", None):  # also called if the file could not be opened
            held.close()

    def check(self, name: str, most: int) -> None:
        """Check a part's size in the archive's directory, which limits unpacking. Raises `PartTooLarge`."""
        size = self.getinfo(name).file_size
        if size > most:
            raise PartTooLarge(
                f"{name[:100]} in it unpacks to {size:,} bytes, and a part like it has at most {most:,}"
            )

    def read(self, name: Any, pwd: bytes | None = None) -> bytes:
        """Read a whole part."""
        self.check(name, _MOST_WHOLE)
        return super().read(name, pwd)

    def open(self, name: Any, *args: Any, **options: Any) -> Any:
        """Open a part for reading block by block."""
        self.check(name, _MOST_STREAMED)
        return BookPart(super().open(name, *args, **options), name, self._pause)


class BookPart:
    def __init__(self, file: Any, name: str, pause: Pause) -> None:
        self._file, self._name, self._pause = file, name, pause
        self._left: int | None = None

    def __enter__(self) -> "BookPart":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def row_ends(self) -> None:
        """Note that the next row may begin: from here on, each row has a limit."""
        self._left = _MOST_BETWEEN_ROWS

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        self._pause()
        block: bytes = self._file.read(size)
        if self._left is not None:
            self._left -= len(block)
            if self._left < 0:
                raise PartTooLarge(
                    f"{self._name[:100]} in it has a row of more than {_MOST_BETWEEN_ROWS:,} bytes"
                )
        return block
