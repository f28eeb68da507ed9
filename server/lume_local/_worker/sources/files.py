"""A source as a file: its identity, encoding and lines. Stdlib only."""

import codecs
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from attrs import frozen

from lume_local._shared import no_links
from lume_local._shared.failing import on_error
from lume_local._worker.sources.source import SourceError

BLOCK = 4 * 1024 * 1024
BOM = codecs.BOM_UTF8
LONGEST_LINE = 128_000_000
"""Bytes. A longer line fails the run instead of being rejected: the file is hardly a text file. A run holds at most
two copies of a line, when it writes it to the rejects.
"""


@frozen
class Snapshot:
    """A cheap identification of a file's content, to detect writes while it is read."""

    size: int
    modified_ns: int
    inode: int

    @property
    def tag(self) -> str:
        """The part that, beside the size, is equal on every machine that sees the file."""
        return str(self.modified_ns)


def snapshot(path: Path, looked_up: str = "") -> Snapshot:
    """Return a file's present identity. Raises `SourceError` if it isn't a readable file.

    `looked_up` says how the path was found, for the message.
    """
    file, found = opened(path, looked_up)
    os.close(file)
    return found


def opened(path: Path, looked_up: str = "") -> tuple[int, Snapshot]:
    """Open a file; return it and its identity. Raises `SourceError`, including for a symbolic link in the path."""
    try:
        file = no_links.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would wait for its writer
    except FileNotFoundError:
        why = f"there is no file {path}"
        how = "put it there, then submit the run again"
        raise SourceError(f"{why}{looked_up}: {how}", told=f"{why}: {how}") from None
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror or error}") from None
    with on_error(partial(os.close, file)):
        found = os.fstat(file)
        if stat.S_ISDIR(found.st_mode):
            raise SourceError(f"{path} is a folder: name one file in it")
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{path} is not a regular file: name a file that can be read twice")
        return file, Snapshot(found.st_size, found.st_mtime_ns, found.st_ino)


def blocks(path: Path, pause: Callable[[], None], start: int = 0, end: int = sys.maxsize) -> Iterator[bytes]:
    """Yield the file, or a part of it, in blocks; `pause` is called before each and may raise."""
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(min(BLOCK, end - file.tell())):
            pause()
            yield block


def blocks_of_lines(
    path: Path, pause: Callable[[], None], start: int = 0, end: int = sys.maxsize
) -> Iterator[bytes]:
    """Yield the file, or a part of it, in pieces that end at a line end."""
    held: list[bytes] = []
    half = b""
    for read in blocks(path, pause, start, end):
        block = half + read
        half = b"\r" if block.endswith(b"\r") else b""  # it may be half of a line end
        block = block.removesuffix(half)
        at = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        held.append(block[:at] if at else block)
        if sum(map(len, held)) > LONGEST_LINE + BLOCK:
            raise SourceError(f"a line is longer than {LONGEST_LINE:,} bytes: is the file NDJSON?")
        if at:
            whole, held = b"".join(held), [block[at:]]
            yield whole
    if rest := b"".join([*held, half]):
        yield rest


def digest(file: BinaryIO, pause: Callable[[], None]) -> str:
    """Return a hash of the content of an open file. Raises OSError."""
    found = hashlib.sha256()
    while block := file.read(BLOCK):
        pause()
        found.update(block)
    return found.hexdigest()


def count_lines(data: bytes) -> int:
    r"""Return the number of line ends (`\n`, `\r\n`, `\r`)."""
    if b"\r" not in data:
        return data.count(b"\n")
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def physical_lines(path: Path, pause: Callable[[], None]) -> int:
    """Return the number of lines of a text; the last one need not have an end."""
    count, last = 0, b"\n"
    for block in blocks(path, pause):
        count += count_lines(block) - (last.endswith(b"\r") and block.startswith(b"\n"))
        last = block[-1:]
    return count + (last not in b"\r\n")


def is_utf8(data: bytes) -> bool:
    """Return whether these bytes, which end with a whole character, are UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_utf8_beyond_ascii(path: Path, pause: Callable[[], None]) -> bool:
    """Return whether a file is UTF-8 and not only ASCII, which text in other encodings hardly ever is."""
    return _beyond_ascii(path, pause) is True


def is_utf8_file(path: Path, pause: Callable[[], None]) -> bool:
    return _beyond_ascii(path, pause) is not None


def _beyond_ascii(path: Path, pause: Callable[[], None]) -> bool | None:
    """Return whether a file in UTF-8 is not only ASCII; None for other files."""
    decoder, beyond = codecs.getincrementaldecoder("utf-8")(), False
    try:
        for block in blocks(path, pause):
            decoder.decode(block)
            beyond = beyond or not block.isascii()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return None
    return beyond


def is_utf8_name(encoding: str) -> bool:
    """Return whether a file in this encoding can be read as it is."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def apart_from_encoding(form: dict[str, Any]) -> dict[str, Any]:
    """Return how a layout reads files, whatever their encoding, path, and the place where the flow says so."""
    apart = "encoding", "match", "ref", "settings", "sources"
    return {key: value for key, value in form.items() if key not in apart}


def recode(path: Path, shown: str, encoding: str, target: Path, pause: Callable[[], None]) -> Path:
    """Rewrite the file in UTF-8.

    An undecodable byte becomes a lone surrogate, a character that isn't valid in UTF-8 either. `encode_back` restores
    the byte: its line is rejected like any other invalid one, with its bytes kept.
    """
    try:
        with (
            path.open(encoding=encoding, errors="surrogateescape", newline="") as file,
            target.open("w", encoding="utf-8", errors="surrogatepass", newline="") as out,
        ):
            while block := file.read(BLOCK):
                pause()
                out.write(block)
    except UnicodeError as error:
        raise SourceError(f"{shown} is not {encoding}: {error}; set its encoding in [source]") from None
    return target


def encode_back(path: Path, encoding: str, target: Path) -> Path:
    """Reverse `recode`. Characters that the encoding lacks (for example in a reason) are escaped."""
    codecs.register_error("lume_bytes", partial(_bytes_or_escape, encoding))
    with (
        path.open(encoding="utf-8", errors="lume_bytes", newline="") as file,
        target.open("w", encoding=encoding, errors="lume_bytes", newline="") as out,
    ):
        while block := file.read(BLOCK):
            out.write(block)
    return target


def _bytes_or_escape(encoding: str, error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):  # corrected rejects in UTF-8 may contain raw bytes
        with suppress(UnicodeDecodeError):
            return error.object[error.start : error.start + 3].decode(
                "utf-8", "surrogatepass"
            ), error.start + 3
        return chr(0xDC00 + error.object[error.start]), error.start + 1
    assert isinstance(error, UnicodeEncodeError)
    if "\udc80" <= error.object[error.start] <= "\udcff":
        byte = bytes([ord(error.object[error.start]) - 0xDC00])
        with suppress(UnicodeDecodeError):
            byte.decode(encoding)  # it would be read back as a letter
            return f"\\x{byte.hex()}", error.start + 1
        return byte, error.start + 1
    return codecs.backslashreplace_errors(error)
