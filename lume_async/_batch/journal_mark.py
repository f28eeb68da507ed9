"""The mark beside a journal that is in use: how many entries it has, so that it is noticed if some get lost.

SQLite takes a log (`-wal`) that was cut off, or is damaged, for one that ends there: nothing in it says where it
should.
"""

import os
import zlib
from typing import Self

_LENGTH = 8
_CHECKED = _LENGTH + 4


class Mark:
    """A count in a file of its own, written after each entry and not synced.

    Whenever the process is killed, there are as many entries as it says, or one more. Where the machine loses its
    power, it may have reached the disk before them: then they are missing indeed.
    """

    def __init__(self, path: str, file: int) -> None:
        self._path = path
        self._file = file  # no file object: one that a program drops at its end would warn of it
        said = os.read(file, _CHECKED)
        intact = said[_LENGTH:] == zlib.crc32(said[:_LENGTH]).to_bytes(4)
        self.count = int.from_bytes(said[:_LENGTH]) if intact else 0
        """What the file says: 0 where there was none, or it is damaged itself."""

    @classmethod
    def open(cls, journal: str) -> Self:
        """That of the journal, or a new one.

        Raises:
            OSError: it can't be written.
        """
        path = mark_of(journal)
        return cls(path, os.open(path, os.O_RDWR | os.O_CREAT, 0o666))

    def set(self, count: int) -> None:
        """There are so many entries.

        Raises:
            OSError: it can't be written.
        """
        said = count.to_bytes(_LENGTH)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, said + zlib.crc32(said).to_bytes(4))
        self.count = count

    def close(self, *, remove: bool) -> None:
        """Let go of the file; remove it where the journal needs none, being closed."""
        os.close(self._file)
        if remove:
            os.unlink(self._path)


def mark_of(journal: str) -> str:
    """The path of a journal's mark."""
    return f"{journal}-mark"
