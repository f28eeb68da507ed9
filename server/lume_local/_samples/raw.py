"""The bytes of a sample file: their kind, the lines of a text, and its first JSON values."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, AnyStr, Literal, cast

from attrs import frozen

from lume_async.errors import ConfigurationError
from lume_local._shared import magic
from lume_local._shared.compressed import OPENERS, SUFFIXES

LONGEST = 2_000_000
"""The default of `source.max_line_bytes`."""
_START = 64 * 1024
_CHARACTERS = 16 * 1024 * 1024
"""Maximum characters of a JSON file to read."""
_PACKED: dict[str | None, str] = {magic.GZIP: "gzip", magic.ZSTD: "zstd"}
_SAVE = "if it has a table, open it in a spreadsheet, and save it as .xlsx or CSV"
_ADVICE = {
    **dict.fromkeys(("a workbook of Excel 2003 in XML", magic.HTML, magic.MIME), _SAVE),
    **dict.fromkeys(
        (magic.TAR, magic.SEVEN_ZIP, magic.RAR), "unpack it, or pack its files into a ZIP archive instead"
    ),
    **dict.fromkeys((magic.BZIP2, magic.XZ), "unpack it, or compress it with gzip or zstd instead"),
    **dict.fromkeys((magic.GZIP, magic.ZSTD), "unpack it once, as it is compressed twice"),
    **dict.fromkeys((magic.AVRO, magic.ARROW, "an ARFF file"), "convert it to Parquet or CSV"),
    magic.SQLITE: "export a table as CSV",
    "a binary file": "export its table as CSV, or copy it again if it was not written completely",
}
_SHEETS = (".xls", ".xlsx", ".htm", ".html")
_HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:table|meta|head|style|body|div|!--)\b", re.IGNORECASE)
_SPREADSHEET = b"urn:schemas-microsoft-com:office:spreadsheet"
_ARFF = re.compile(rb"(?:%[^\n]*\n|\s)*@relation\s", re.IGNORECASE)
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
        opener = OPENERS.get(self.packing)
        return self.held.open("rb") if opener is None else cast("IO[bytes]", opener(self.held))

    def is_called(self, *suffixes: str) -> bool:
        """Return whether its name ends with one of these suffixes, optionally followed by that of a compression."""
        name, last = self.path.name.lower(), self.path.suffix.lower()
        return (name.removesuffix(last) if last in SUFFIXES else name).endswith(suffixes)

    @property
    def packing(self) -> str:
        """How it is compressed, by its content; `none` if it is not."""
        return _PACKED.get(self.kind, "none")

    @property
    def compression(self) -> dict[str, str]:
        """The setting for a file whose suffix does not show its compression."""
        packing = self.packing
        return {} if packing == SUFFIXES.get(self.path.suffix.lower(), "none") else {"compression": packing}


def refuse_binary(file: RawFile) -> None:
    """Refuse a file that is not a text. Raises `ConfigurationError`."""
    with file.open() as plain:
        start = plain.read(_START)
    found = magic.kind_of(start[: magic.LENGTH])
    if found == magic.XML and _SPREADSHEET in start:
        found = "a workbook of Excel 2003 in XML"
    if found in (None, magic.XML) and file.is_called(*_SHEETS) and _HTML.match(start):
        found = magic.HTML  # many programs export tables so
    if found is None and _ARFF.match(start):
        found = "an ARFF file"
    if found not in (None, magic.XML):
        raise no_text(file, found)


def no_text(file: RawFile, found: str) -> ConfigurationError:
    """Return the error of a file that has none of the formats of samples."""
    return ConfigurationError(
        f"{file.name} is {found}, not CSV, NDJSON, JSON, XML, Parquet, a workbook or a ZIP archive: "
        f"{_ADVICE.get(found, 'convert it first')}"
    )


def refuse_other_json(file: RawFile) -> None:
    """Refuse a file that is called JSON, and has no objects. Raises `ConfigurationError`."""
    if not file.is_called(".json", ".ndjson", ".jsonl", ".geojson"):
        return
    with file.open() as plain:
        start = plain.read(_START)
    if 0 in start:
        raise ConfigurationError(f"{file.name} is not valid UTF-8, which JSON requires: save it as UTF-8")
    if not start.removeprefix(codecs.BOM_UTF8).strip():
        raise ConfigurationError(f"{file.name} is empty: a sample needs at least one object")
    raise ConfigurationError(
        f"{file.name} is JSON without an array of objects at its top: convert it to one, or to CSV"
    )


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
    return re.match(rb"<(?:\?xml\s|!--|!DOCTYPE\s|[A-Za-z_][\w.:-]*[\s/>])", start) is not None


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
        has_comma = text.startswith(",", at)
        after = _skip_space(text, at + has_comma)
        if is_cut and after == len(text):
            return
        is_end = text.startswith("]", after)
        if problem := _trouble_between(is_array, has_comma, is_end, after == len(text)):
            raise ConfigurationError(f"{name}:{text.count(chr(10), 0, at) + 1} has {problem}")
        at = after


def _trouble_between(is_array: bool, has_comma: bool, is_end: bool, is_over: bool) -> str:
    """Return the mistake after a value, which ends its array or the text, or has a comma after it."""
    if has_comma and not is_array:
        return "a comma after an object: delete these commas, or write [ before the first object and ] after the last"
    if has_comma and is_end:
        return "a comma before the end of the array: delete it"
    if is_array and not has_comma and not is_end:
        return "an array without an end: copy it again" if is_over else "no comma after an object: add it"
    return ""


def _skip_space(text: str, at: int) -> int:
    """Return the position of the next character that is not a space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
