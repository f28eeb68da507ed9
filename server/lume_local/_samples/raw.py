"""The bytes of a sample file: their kind and encoding, the lines of a text, and its first JSON values."""

import codecs
import gzip
import io
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, AnyStr, Literal, cast

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
LONGEST = 2_000_000
"""The default of `source.max_line_bytes`."""
_START = 64 * 1024
_CHARACTERS = 16 * 1024 * 1024
"""Maximum characters of a JSON file to read."""
_ARRAY = re.compile(rb"\s*\[\s*(?:[{\]]|$)")
_SPACE = re.compile(r"\s*")


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
                f"read as {wide}, of which it has no byte order mark: if that is wrong, pass encoding="
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
            "another encoding is meant, pass encoding="
        ]
    if western:
        return "cp1252", [
            "it is not valid UTF-8, and read as cp1252, as Excel and older programs write: if letters look wrong, "
            "pass encoding=, such as cp1250 or cp850"
        ]
    raise ConfigurationError(
        f"{sample.name} is not valid utf-8: pass encoding=, the one that it was saved in; it is not "
        "cp1252, but may be cp850 or cp1250"
    )


def _without_mark(start: bytes) -> str:
    """Guess UTF-16 without a mark from a text that is mostly ASCII: every other byte is zero."""
    even, odd = start[0:2000:2].count(0), start[1:2000:2].count(0)
    half = max(len(start[:2000]) // 2, 1)
    if odd > half * 0.6 and even == 0:
        return "utf-16-le"
    return "utf-16-be" if even > half * 0.6 and odd == 0 else ""


def lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """Yield the remaining lines. Raises `ConfigurationError` at the first that is too long."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            units = "characters" if isinstance(line, str) else "bytes"
            advice = "check that it is a text file with line ends"
            if line[:1] in ("\0", b"\0"):
                advice = "it begins with NUL, so it is not a text file, or was not written completely"
            raise ConfigurationError(
                f"line {number:,} of {name} is longer than {LONGEST:,} {units}, the most that a flow reads "
                f"by default (source.max_line_bytes): {advice}"
            )
        yield line


def json_format(file: IO[bytes]) -> Literal["json", "ndjson"] | None:
    """Return the format, by the beginning of the file; None if it is neither.

    An object on one line is NDJSON; an object on several lines, or an array of objects, is JSON.
    """
    start = file.read(_START).removeprefix(codecs.BOM_UTF8)
    if _ARRAY.match(start):
        return "json"
    if not (start := start.lstrip()).startswith(b"{"):
        return None
    first, end, _ = start.partition(b"\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return "json" if end and not first.rstrip().endswith(b"}") else "ndjson"
    return "ndjson"


def is_xml(file: IO[bytes]) -> bool:
    """Return whether it starts like XML, in an encoding with Latin letters."""
    start = file.read(_START).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return re.match(rb"<(?:\?xml\s|!--|[A-Za-z_][\w.:-]*[\s/>])", start) is not None


def copy_head(file: IO[bytes], encoding: str, name: str, target: Path, rows: int) -> bool:
    """Copy the lines of the first rows as UTF-8; invalid bytes in a UTF-8 file are kept.

    Return whether that is the whole file.

    Raises:
        ConfigurationError: a line is too long.
        UnicodeError: the file does not have that encoding.
    """
    plain = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    errors = "surrogateescape" if plain else "strict"
    count, quotes, size = 0, 0, 0
    with (
        io.TextIOWrapper(
            file, encoding="utf-8-sig" if plain else encoding, errors=errors, newline=""
        ) as text,
        target.open("w", encoding="utf-8", errors=errors, newline="") as out,
    ):
        for line in lines(text, name):
            if size > _CHARACTERS or count > 2 * rows or (count > rows and quotes % 2 == 0):
                return False  # not likely within a quoted value
            out.write(line)
            count, quotes, size = count + 1, quotes + line.count('"'), size + len(line)
    return True


def objects(
    file: IO[bytes], kind: Literal["json", "ndjson"], name: str, most: int
) -> Iterator[tuple[bytes, Any]]:
    """Yield the first values, each as a line and parsed; None for a line that is not valid JSON.

    Raises:
        ConfigurationError: a line is too long, or a file of kind "json" is not valid JSON.
    """
    yield from _lines(file, name, most) if kind == "ndjson" else islice(_values(file, name), most)


def _lines(file: IO[bytes], name: str, most: int) -> Iterator[tuple[bytes, Any]]:
    for number, line in enumerate(islice(lines(file, name), most)):
        text = line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n") if number == 0 else line.rstrip(b"\r\n")
        if text.strip():
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            yield text, value


def _values(file: IO[bytes], name: str) -> Iterator[tuple[bytes, Any]]:
    """Yield the values of an array, or consecutive values; if a file is large, only the first ones."""
    data = file.read(_CHARACTERS)
    is_cut = bool(file.read(1))
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=not is_cut)
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{name} is not valid UTF-8, which JSON requires: save it as UTF-8"
        ) from None
    decoder, at = json.JSONDecoder(), _skip_space(text, 0)
    is_array = text.startswith("[", at)
    at = _skip_space(text, at + is_array)
    while at < len(text) and not text.startswith("]", at):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if is_cut:
                return
            line = text.count("\n", 0, at) + 1
            raise ConfigurationError(f"{name}:{line} is not valid JSON ({error}): correct it there") from None
        yield text[at:end].replace("\r", " ").replace("\n", " ").encode(), value
        at = _skip_space(text, end)
        if is_array and text.startswith(",", at):
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    """Return the position of the next character that is not a space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
