"""A JSON source: an array of objects, or objects one after the other. It is converted to NDJSON and read as that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from attrs import evolve

from lume_local._worker.sources.files import BLOCK, blocks, count_lines
from lume_local._worker.sources.formats.ndjson import read_ndjson
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import Pause, SourceError
from lume_local._worker.statements import Layout

_LONGEST = 64_000_000
"""Characters of a value."""
_SPACE = " \t\r\n"
# Only the end of a value matters here; its content is checked later, so that a bad object costs only itself.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)


def read_json(reading: Reading) -> Layout:
    """Put each object into a line of its own. Raises `SourceError`."""
    lines, count = reading.folder / "objects", 0
    with reading.path.open(encoding="utf-8-sig", newline="") as file, lines.open("wb") as out:
        try:
            for value in _values(_Window(file, reading.pause)):
                count += 1
                # Line ends can only be white space between the parts of a value.
                out.write(value.replace("\r", " ").replace("\n", " ").encode() + b"\n")
        except _Broken as error:
            raise SourceError(f"{reading.shown} is not JSON at line {error.line:,}: {error}") from None
        except UnicodeError as error:
            raise SourceError(
                f"{reading.shown} is not UTF-8 ({error}), as JSON has to be: save it with that encoding, then submit "
                "it again"
            ) from None
    layout = read_ndjson(evolve(reading, path=lines))
    if reading.account.records != count:
        raise SourceError(f"{reading.shown} has {count:,} values, but {reading.account.records:,} were read")
    reading.account.lines = _lines(reading.path, reading.pause)
    return layout


def _lines(path: Path, pause: Pause) -> int:
    count, last = 0, b"\n"
    for block in blocks(path, pause):
        count += count_lines(block) - (last.endswith(b"\r") and block.startswith(b"\n"))
        last = block[-1:]
    return count + (last not in b"\r\n")


class _Broken(Exception):
    line = 0


class _Window:
    """The part of a text that is in memory."""

    def __init__(self, file: TextIO, pause: Pause) -> None:
        self._file, self._pause = file, pause
        self._text, self._at, self._lines, self._ended = "", 0, 1, False

    def _more(self) -> bool:
        """Read more text; false at the end."""
        self._pause()
        rest = self._text[self._at :]
        self._lines += self._text.count("\n", 0, self._at)
        block = self._file.read(max(BLOCK, len(rest)))
        self._text, self._at, self._ended = rest + block, 0, not block
        return not self._ended

    def peek(self) -> str:
        """The next character that is not a space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        self._at += 1

    def value(self) -> str:
        while True:
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > _LONGEST or self._ended or not self._more():
                    raise self.broken(getattr(error, "msg", "it is nested too deeply")) from None
                continue
            if end < len(self._text) or self._ended or not self._more():  # a number may continue
                text = self._text[self._at : end]
                self._at = end
                return text

    def broken(self, why: str) -> _Broken:
        error = _Broken(why)
        error.line = self._lines + self._text.count("\n", 0, self._at)
        return error


def _values(window: _Window) -> Iterator[str]:
    if window.peek() != "[":
        while window.peek():
            yield window.value()
        return
    window.skip()
    while window.peek() != "]":
        yield window.value()
        if window.peek() == ",":
            window.skip()
            if window.peek() == "]":
                raise window.broken("a comma before the end of the array")
        elif window.peek() != "]":
            raise window.broken("a comma or the end of the array is missing")
    window.skip()
    if window.peek():
        raise window.broken("something follows the array")
