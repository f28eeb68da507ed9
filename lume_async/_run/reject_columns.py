"""Checks whether a file has the columns of rejects, without reading all of it."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_OURS = b"_lume_"
_LOOKED_AT = 1024 * 1024
"""Bytes to read of a text file: more than a header, or the first object of an array, takes."""
_ZSTD, _ZIP, _PARQUET = b"\x28\xb5\x2f\xfd", b"PK", b"PAR1\x15"  # without \x15: the name of a column
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""The first bytes of compressed files, and the functions that open them."""
_CHUNK = 1024 * 1024
_SHEETS = ("xl/sharedStrings.xml", "xl/worksheets/")
_MOST = 256
"""The maximum number of chunks to read of a workbook."""
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Byte order marks and blanks, which may precede an array."""


class UnreadableError(Exception):
    """The file can't be read, or is damaged or incomplete."""


def has_reject_columns(path: Path) -> bool | None:
    """Return whether the file has them; None if unknown. Raises UnreadableError."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
        if begin.startswith(_ZSTD):
            return None
        if begin.startswith(_ZIP):
            return _in_workbook(path)
        if begin.startswith(_PARQUET):
            return _in_parquet(path)
        unpack = next((opened for magic, opened in _PACKED.items() if begin.startswith(magic)), open)
        with unpack(path, "rb") as file:
            return _in_text(file)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, lzma.LZMAError, zlib.error) as error:
        raise UnreadableError(str(error)) from None  # for example cut off, or encrypted


def _in_text(file: IO[bytes]) -> bool:
    """Look in the header of CSV, or the first object of NDJSON or an array."""
    begin = file.read(_LOOKED_AT)
    if not begin.lstrip(_BLANK).startswith(b"["):
        begin = begin.partition(b"\n")[0]
    return _OURS in begin.replace(b"\0", b"").lower()  # UTF-16 has a NUL beside each letter


def _in_parquet(path: Path) -> bool:
    """Look in the footer, which has the names of the columns verbatim."""
    with path.open("rb") as file:
        size = file.seek(-8, 2) + 8
        length = int.from_bytes(file.read(4), "little")
        if file.read(4) != b"PAR1":
            raise EOFError("it has no footer")
        file.seek(max(0, size - 8 - length))
        return _OURS in file.read(length).lower()


def _in_workbook(path: Path) -> bool:
    """Look in the texts of the workbook."""
    left = _MOST
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if not name.startswith(_SHEETS):
                continue
            with book.open(name) as part:
                tail = b""
                while left and (chunk := part.read(_CHUNK)):
                    if _OURS in (tail + chunk).lower():
                        return True
                    tail, left = chunk[-len(_OURS) :], left - 1
    return False
