"""The bytes of a sample file: their kind and encoding."""

import codecs
import gzip
from pathlib import Path
from typing import IO, cast

from attrs import frozen

from lume_async._base.words import counted
from lume_async.errors import ConfigurationError
from lume_local._shared import magic

_BLOCKS, _BLOCK = 64, 1024 * 1024
"""Parts of a file that are read to find its encoding: their number, and their size in bytes."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # starts with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@frozen
class RawFile:
    """A sample file.

    Attributes:
        path: its path, whose suffixes count.
        name: its name in messages.
        held: the path to read it by, such as a descriptor in `/proc`.
    """

    path: Path
    name: str
    held: Path

    @property
    def kind(self) -> str | None:
        """The kind that its first bytes show."""
        with self.held.open("rb") as file:
            return magic.kind_of(file.read(magic.LENGTH))

    def open(self) -> IO[bytes]:
        """Open it, decompressed if necessary."""
        return cast("IO[bytes]", gzip.open(self.held)) if self.kind == magic.GZIP else self.held.open("rb")

    def is_called(self, *suffixes: str) -> bool:
        """Return whether its name ends with one of these suffixes, optionally followed by that of gzip."""
        return self.path.name.lower().removesuffix(".gz").endswith(suffixes)

    @property
    def compression(self) -> dict[str, str]:
        """The setting for a compressed file whose suffix does not show the compression."""
        is_hidden = self.kind == magic.GZIP and self.path.suffix.lower() not in (".gz", ".gzip")
        return {"compression": "gzip"} if is_hidden else {}


def refuse_binary(file: RawFile) -> None:
    """Refuse a file that is not a text. Raises `ConfigurationError`."""
    try:
        with file.open() as plain:
            found = magic.kind_of(plain.read(magic.LENGTH))
    except (OSError, EOFError):
        return  # reading it reports why
    if found not in (None, magic.XML):
        raise ConfigurationError(
            f"{file.name} is {found}, not CSV, NDJSON, JSON, XML, Parquet, a workbook or a ZIP archive: convert it "
            "first"
        )


def encoding_of(sample: RawFile) -> tuple[str, list[str]]:
    """Return the likely encoding of a text file, and what to check about it.

    Raises:
        ConfigurationError: the encoding is not recognized.
    """
    with sample.open() as file:
        start = file.read(_BLOCK)
        marked = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "")
        if marked:
            return marked, []
        if wide := _without_mark(start):
            return wide, [
                f"read as {wide}, of which it has no byte order mark: if that is wrong, pass --encoding"
            ]
        bad, beyond, western = 0, 0, True
        utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        cp1252 = codecs.getincrementaldecoder("cp1252")("replace")
        for _ in range(_BLOCKS):
            text = utf8.decode(start, final=not start)
            if not text.isascii():
                bad += sum("\udc80" <= letter <= "\udcff" for letter in text)
                beyond += sum(letter > "\x7f" for letter in text)
                western = western and "\ufffd" not in cp1252.decode(start)
            if not start:
                break
            start = file.read(_BLOCK)
    if not bad:
        return "utf-8", []
    if beyond - bad >= bad:
        return "utf-8", [
            f"most of it is UTF-8, but {counted(bad, 'byte is', 'bytes are')} not, whose lines are rejected; if "
            "another encoding is meant, pass --encoding"
        ]
    if western:
        return "cp1252", [
            "it is not valid UTF-8, and read as cp1252, as Excel and older programs write: if letters look wrong, "
            "pass --encoding, such as cp1250 or cp850"
        ]
    raise ConfigurationError(
        f"{sample.name} is not valid utf-8: pass the encoding that it was saved in with --encoding; it is not "
        "cp1252, but may be cp850 or cp1250"
    )


def _without_mark(start: bytes) -> str:
    """Guess UTF-16 without a mark from a text that is mostly ASCII: every other byte is zero."""
    even, odd = start[0:2000:2].count(0), start[1:2000:2].count(0)
    half = max(len(start[:2000]) // 2, 1)
    if odd > half * 0.6 and even == 0:
        return "utf-16-le"
    return "utf-16-be" if even > half * 0.6 and odd == 0 else ""
