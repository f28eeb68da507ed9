"""Reading a sample that is text: its lines, none longer than the engine accepts, and its first JSON objects."""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any, AnyStr, Literal

import click

LONGEST = 2_000_000
"""The default of `source.max_line_bytes`."""
_START = 64 * 1024
_CHARACTERS = 16 * 1024 * 1024
"""How much of a JSON file is read."""
_ARRAY = re.compile(rb"\s*\[\s*(?:[{\]]|$)")
_SPACE = re.compile(r"\s*")


def lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """The lines from here on. Raises `click.UsageError` at the first that is too long."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise click.UsageError(
                f"line {number:,} of {name} is longer than {LONGEST:,} {_units(line)}, the most that a flow reads "
                f"by default (source.max_line_bytes): {_advice(line)}"
            )
        yield line


def _units(line: AnyStr) -> str:
    return "characters" if isinstance(line, str) else "bytes"


def _advice(line: AnyStr) -> str:
    if line[:1] in ("\0", b"\0"):
        return "it begins with NUL, so it is not a text file, or was not written completely"
    return "check that it is a text file with line ends"


def json_format(file: IO[bytes]) -> Literal["json", "ndjson"] | None:
    """The format, from the beginning of the file; None if it is neither.

    An object on one line is NDJSON; one on several lines, and an array of objects, is JSON.
    """
    start = file.read(_START).removeprefix(codecs.BOM_UTF8)
    if _ARRAY.match(start):
        return "json"
    if not (start := start.lstrip()).startswith(b"{"):
        return None
    first, end, _ = start.partition(b"\n")
    try:
        json.loads(first)
    except ValueError:
        return "json" if end and not first.rstrip().endswith(b"}") else "ndjson"
    return "ndjson"


def read_objects(
    file: IO[bytes], kind: Literal["json", "ndjson"], name: str, most: int
) -> list[dict[str, Any]]:
    """The first objects. Raises `click.UsageError` if anything else is found."""
    found = []
    values = _lines(file, name, most) if kind == "ndjson" else islice(_values(file, name), most)
    for line, value in values:
        if not isinstance(value, dict):
            where = (
                "NDJSON has one on each line"
                if kind == "ndjson"
                else "a JSON source is a series or an array of objects"
            )
            raise click.UsageError(f"{name}:{line} is not an object: {where}")
        found.append(value)
    return found


def _lines(file: IO[bytes], name: str, most: int) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(islice(lines(file, name), most), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise click.UsageError(f"{name}:{number} is not valid JSON: {error}") from None


def _values(file: IO[bytes], name: str) -> Iterator[tuple[int, Any]]:
    """The values of an array, or consecutive values; of a large file, those at its beginning."""
    data = file.read(_CHARACTERS)
    is_cut = bool(file.read(1))
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=not is_cut)
    except UnicodeDecodeError:
        raise click.UsageError(f"{name} is not valid UTF-8, which JSON requires: save it as UTF-8") from None
    decoder, at = json.JSONDecoder(), _skip_space(text, 0)
    is_array = text.startswith("[", at)
    at = _skip_space(text, at + is_array)
    while at < len(text) and not text.startswith("]", at):
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError as error:
            if is_cut:
                return
            line = text.count("\n", 0, at) + 1
            raise click.UsageError(f"{name}:{line} is not valid JSON: {error}") from None
        yield text.count("\n", 0, at) + 1, value
        at = _skip_space(text, end)
        if is_array and text.startswith(",", at):
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    """The position of the next character that is not a space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
