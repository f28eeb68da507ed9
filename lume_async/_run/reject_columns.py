"""Whether a file has the columns of rejects, as far as can be seen without reading all of it."""

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
"""Bytes of a text file: more than a header, or the first object of an array, needs."""
_ZSTD, _ZIP, _PARQUET = b"\x28\xb5\x2f\xfd", b"PK", b"PAR1\x15"  # without \x15: the name of a column
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""How compressed files begin, and what opens them."""
_CHUNK = 1024 * 1024
_SHEETS = ("xl/sharedStrings.xml", "xl/worksheets/")
_MOST = 256
"""Chunks of a workbook."""
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Byte order marks, and what may precede an array."""


class UnreadableError(Exception):
    """The file can't be read, or is damaged or incomplete."""


def has_reject_columns(path: Path) -> bool | None:
    """Whether it has them; None if that can't be determined. Raises UnreadableError."""
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
        raise UnreadableError(str(error)) from None  # such as cut off, or encrypted


def _in_text(file: IO[bytes]) -> bool:
    """In the header of CSV, the first object of NDJSON or of an array."""
    begin = file.read(_LOOKED_AT)
    if not begin.lstrip(_BLANK).startswith(b"["):
        begin = begin.partition(b"\n")[0]
    return _OURS in begin.replace(b"\0", b"").lower()  # UTF-16 has a NUL beside each letter


def _in_parquet(path: Path) -> bool:
    """In its footer, which has the names of the columns verbatim."""
    with path.open("rb") as file:
        size = file.seek(-8, 2) + 8
        length = int.from_bytes(file.read(4), "little")
        if file.read(4) != b"PAR1":
            raise EOFError("it has no footer")
        file.seek(max(0, size - 8 - length))
        return _OURS in file.read(length).lower()


def _in_workbook(path: Path) -> bool:
    """In its texts."""
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
