"""Reads the rows of an NDJSON output: the objects as written, so that no digit is lost."""

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

import orjson

from lume_local._worker.outputs.row_json import Broken, OutputRow, shown
from lume_local._worker.sources.mending.lost_letters import KEPT

_REJECT = re.compile(
    r'\{(?:"_lume_row":(?P<row>\d+|null),)?(?:"_lume_line":(?P<line>\d+|null),)?'
    r'"_lume_reasons":(?P<reasons>"(?:[^"\\]|\\.)*+")(?:,(?P<rest>.*))?\}',
    re.DOTALL,
)
_NO_RAW = re.compile(r',?"_lume_raw":null\Z')
_NOT_FINITE = {"Infinity": '"inf"', "-Infinity": '"-inf"', "NaN": '"nan"'}
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*+"|-?Infinity|NaN')
"""These constants; and strings, in which they have no meaning."""


class NdjsonRows:
    """Reads from `position`, a number returned by this class; 0 is the beginning."""

    def __init__(self, file: TextIO, position: int) -> None:
        self._file = file
        file.seek(position)

    def position(self) -> int:
        return self._file.tell()

    def __iter__(self) -> Iterator[OutputRow]:
        while line := self._file.readline():
            text = line.removesuffix("\n")
            match = _REJECT.fullmatch(text)
            yield OutputRow(*_bodies(text)) if match is None else _reject(match)


def _reject(match: re.Match[str]) -> OutputRow:
    rest = _NO_RAW.sub("", match["rest"] or "")
    row, line = _number(match["row"]), _number(match["line"])
    return OutputRow(*_bodies("{" + rest + "}"), row, line, json.loads(shown(match["reasons"])))


def _bodies(text: str) -> tuple[bytes, bytes]:
    """Return the object, and its original form if it has bytes that are not valid UTF-8."""
    seen = shown(text)
    return _object(seen), b"" if seen == text else text.encode("utf-8", KEPT)


def _number(text: str | None) -> int | None:
    return None if text in (None, "null") else int(text)


def _object(text: str) -> bytes:
    """Return the text itself if it is a JSON object."""
    data = text.encode()
    try:
        value: Any = orjson.loads(data)
    except ValueError:
        # DuckDB writes NaN and Infinity, which are not JSON; 1e400 is JSON, but orjson can't represent it.
        text = _CONSTANT.sub(lambda found: _NOT_FINITE.get(found[0], found[0]), text)
        data = text.encode()
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Broken(f"a line is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Broken("a line is not a JSON object")
    return data
