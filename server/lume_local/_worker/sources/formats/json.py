"""Reads a JSON source, an array of objects or objects one after the other, by converting it to NDJSON."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from attrs import evolve

from lume_async._base.words import counted
from lume_local._worker.sources.files import BLOCK, physical_lines
from lume_local._worker.sources.formats.names import NEW
from lume_local._worker.sources.formats.ndjson import read_ndjson
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import Pause, SourceError
from lume_local._worker.statements import Relation, settings_of

_LONGEST = 64_000_000
"""Characters of a value."""
_SPACE = " \t\r\n"
# Only the end of a value matters here; its content is checked later, so that a bad object affects only itself.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)
_NUMBER = re.compile(r"[-+.\deE]+")
_MOST_NAMED = 20


Found = tuple[Any, str, int | None]
"""A record, the path of the list that it is in, and its number there; None if that is its own path."""


def read_json(reading: Reading) -> Relation:
    """Read each value where the flow reads its records. Raises `SourceError`."""
    # Line ends can only be white space between the parts of a value.
    lines = ((one.replace("\r", " ").replace("\n", " ").encode(), at, n) for one, at, n in values_of(reading))
    return read_objects(reading, lines, "value")


def values_of(reading: Reading) -> Iterator[Found]:
    """Yield each value where the flow reads its records, as it is written. Raises `SourceError`."""
    with reading.path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from _Records(
                _Window(file, reading.pause), tuple(reading.flow["records"]), reading
            ).values()
        except _Broken as error:
            raise SourceError(f"{reading.shown} is not JSON at line {error.line:,}: {error}") from None
        except RecursionError:
            raise SourceError(
                f"{reading.shown} has arrays within arrays that are nested too deeply"
            ) from None
        except UnicodeError as error:
            raise SourceError(
                f"{reading.shown} is not UTF-8 ({error}), as JSON has to be: save it with that encoding, then submit "
                "it again"
            ) from None


def read_objects(reading: Reading, records: Iterator[Found], what: str) -> Relation:
    """Write each object on a line of its own, and read these. Raises `SourceError`."""
    lines, paths, count, last = reading.folder / "objects", reading.folder / "paths", 0, ""
    with lines.open("wb") as out, paths.open("w", encoding="utf-8") as noted:
        for record, path, element in records:
            count += 1
            out.write(record + b"\n")
            if path != last:
                noted.write(f"{json.dumps([count, path, element])}\n")
                last = path
    reading.malformed.places.paths = str(paths)
    relation = read_ndjson(evolve(reading, path=lines))
    if reading.account.records != count:
        raise SourceError(
            f"{reading.shown} has {counted(count, what)}, but {reading.account.records:,} were read"
        )
    reading.account.lines = physical_lines(reading.path, reading.pause)
    return relation


class _Broken(Exception):
    line = 0


class _Window:
    """The part of a text that is in memory."""

    def __init__(self, file: TextIO, pause: Pause) -> None:
        self._file, self._pause = file, pause
        self._text, self._at, self._lines, self._ended = "", 0, 1, False

    def _more(self) -> bool:
        """Read more text; return False at the end."""
        self._pause()
        rest = self._text[self._at :]
        self._lines += self._text.count("\n", 0, self._at)
        block = self._file.read(max(BLOCK, len(rest)))
        self._text, self._at, self._ended = rest + block, 0, not block
        return not self._ended

    def peek(self) -> str:
        """Return the next character that is not a space; empty at the end."""
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
            number = _NUMBER.match(self._text, self._at)
            if number is not None and number.end() == len(self._text) and self._more():
                continue  # it may continue
            try:
                _, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > _LONGEST or self._ended or not self._more():
                    raise self.broken(getattr(error, "msg", "it is nested too deeply")) from None
                continue
            text = self._text[self._at : end]
            self._at = end
            return text

    def elements(self) -> Iterator[None]:
        """Stop at each element of the array whose bracket is next."""
        yield from self._parts("]", "the array")

    def members(self) -> Iterator[str]:
        """Stop at the value of each member of the object that begins here, and yield its name."""
        for _ in self._parts("}", "the object"):
            if self.peek() != '"':
                raise self.broken("the name of a member is missing")
            name = str(json.loads(self.value()))
            if self.peek() != ":":
                raise self.broken("a colon is missing after the name of a member")
            self.skip()
            self.peek()
            yield name

    def _parts(self, end: str, what: str) -> Iterator[None]:
        self.skip()
        while self.peek() != end:
            yield
            if self.peek() == ",":
                self.skip()
                if self.peek() == end:
                    raise self.broken(f"a comma before the end of {what}")
            elif self.peek() != end:
                raise self.broken(f"a comma or the end of {what} is missing")
        self.skip()

    def broken(self, why: str) -> _Broken:
        error = _Broken(why)
        error.line = self._lines + self._text.count("\n", 0, self._at)
        return error


class _Records:
    """Finds the values of a text that are records.

    Args:
        path: the members leading to them. An array on the way stands for each of its elements.
        reading: for messages.
    """

    def __init__(self, window: _Window, path: Sequence[str], reading: Reading) -> None:
        self._window, self._path, self._reading = window, path, reading
        self._is_found, self._others = not path, dict[str, None]()

    def values(self) -> Iterator[Found]:
        """Yield each record as it is written. Raises `SourceError` if the path leads to nothing."""
        window, number = self._window, 0
        if not self._path and window.peek() == "[":
            for n, _ in enumerate(window.elements()):
                yield window.value(), "$", n
            if window.peek():
                raise window.broken("something follows the array")
        while window.peek():
            root = f"$[{number}]" if number else "$"
            yield from self._below(self._path, root) if self._path else [(window.value(), "$", number)]
            number += 1
        if not self._is_found:
            others = ", ".join(map(repr, self._others)) or "no object"
            flow = self._reading.flow
            raise SourceError(
                f"{self._reading.shown} has no {'.'.join(self._path)!r}, where {flow['ref']} reads its records. "
                f"Found on the way: {others}. Fix json.records in {settings_of(flow)}{NEW}, then run it again"
            )

    def _below(self, path: Sequence[str], at: str) -> Iterator[Found]:
        """Yield the records in the next value, which is `at` this path of the file."""
        window, begins = self._window, self._window.peek()
        if begins == "[":
            for n, _ in enumerate(window.elements()):
                yield from self._below(path, f"{at}[{n}]") if path else [(window.value(), at, n)]
        elif not path:
            if (value := window.value()) != "null":
                yield value, at, None
        elif begins == "{":
            is_there = False
            for name in window.members():
                if name == path[0]:
                    if is_there:
                        raise window.broken(f"the member {name!r} appears twice")
                    is_there, self._is_found = True, self._is_found or len(path) == 1
                    step = f".{name}" if name.isidentifier() else f"[{json.dumps(name)}]"
                    yield from self._below(path[1:], at + step)
                else:
                    if len(self._others) < _MOST_NAMED:
                        self._others[name[:100]] = None
                    self._skip()
        else:
            window.value()

    def _skip(self) -> None:
        """Skip the next value, reading it in parts."""
        window = self._window
        if window.peek() == "[":
            for _ in window.elements():
                window.value()
        elif window.peek() == "{":
            for _ in window.members():
                window.value()
        else:
            window.value()
