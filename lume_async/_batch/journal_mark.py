"""The mark beside a journal in use: its number of entries, so that lost entries are noticed.

SQLite reads a truncated or damaged log (`-wal`) up to that point: the log itself does not record its length.
"""

import os
import zlib
from contextlib import suppress
from typing import Self

from lume_async._base.platform import BINARY

_LENGTH = 8
_CHECKED = _LENGTH + 4


class Mark:
    """A count in a separate file, written after each entry and not synced.

    After a kill, the journal has this number of entries, or one more. After a power cut, the mark may have reached
    the disk before entries, which then really are missing.
    """

    def __init__(self, path: str, file: int) -> None:
        self._path = path
        self._file = file  # not a file object, which warns if a program ends without closing it
        said = os.read(file, _CHECKED)
        intact = said[_LENGTH:] == zlib.crc32(said[:_LENGTH]).to_bytes(4)
        self.count = int.from_bytes(said[:_LENGTH]) if intact else 0
        """The number of entries; 0 if the mark is new or damaged."""

    @classmethod
    def open(cls, journal: str) -> Self:
        """Open the journal's mark, or create a new one. Raises `OSError` if it can't be written."""
        path = mark_of(journal)
        return cls(path, os.open(path, os.O_RDWR | os.O_CREAT | BINARY, 0o666))

    def set(self, count: int) -> None:
        """Write the number of entries. Raises `OSError` if it can't be written."""
        said = count.to_bytes(_LENGTH)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, said + zlib.crc32(said).to_bytes(4))
        self.count = count

    def close(self, *, remove: bool) -> None:
        """Close the file, and remove it if the journal was closed completely."""
        os.close(self._file)
        if remove:
            # Another process may have opened the journal meanwhile: then it is removed, or can't be on Windows.
            with suppress(FileNotFoundError, PermissionError):
                os.unlink(self._path)


def mark_of(journal: str) -> str:
    """Return the path of a journal's mark."""
    return f"{journal}-mark"
