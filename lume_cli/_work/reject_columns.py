"""Whether a file has the columns of rejects, as far as that can be seen without reading it all."""

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
"""Bytes of a text: more than its header, or the first object of an array, has."""
_WORKBOOK, _PARQUET, _ZSTD = b"PK\x03\x04", b"PAR1", b"\x28\xb5\x2f\xfd"
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_CHUNK = 1024 * 1024
_SHEETS = ("xl/sharedStrings.xml", "xl/worksheets/")
_MOST = 256
"""Chunks of a workbook."""
_BLANK = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"
"""Byte order marks, and what may stand before an array."""


def has_reject_columns(path: Path) -> bool | None:
    """Whether it has; None where that can't be seen. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(_ZSTD):
        return None
    try:
        if start.startswith(_WORKBOOK):
            return _in_workbook(path)
        if start.startswith(_PARQUET):
            return _in_parquet(path)
        unpacked = next((unpack for magic, unpack in _PACKED.items() if start.startswith(magic)), open)
        with unpacked(path, "rb") as file:
            return _in_text(file)
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, lzma.LZMAError, zlib.error):
        return False  # damaged, or a workbook with a password


def _in_text(file: IO[bytes]) -> bool:
    """In the header of CSV, the first object of NDJSON or of an array."""
    begin = file.read(_LOOKED_AT)
    if not begin.lstrip(_BLANK).startswith(b"["):
        begin = begin.partition(b"\n")[0]
    return _OURS in begin.replace(b"\0", b"").lower()  # UTF-16 has a NUL beside each letter


def _in_parquet(path: Path) -> bool:
    """In its footer, which has the names of the columns as they are."""
    with path.open("rb") as file:
        size = file.seek(-8, 2) + 8
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        return _OURS in file.read(length).lower()


def _in_workbook(path: Path) -> bool:
    """Among its texts."""
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
