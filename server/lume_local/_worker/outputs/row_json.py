"""A row of an output, as each format reads it, and its JSON, with every value as in the file. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import orjson
from attrs import frozen

from lume_local._worker.sources.mending.lost_letters import KEPT

FILE, LINE, REASONS, ROW = "_lume_file", "_lume_line", "_lume_reasons", "_lume_row"
RAW = "_lume_raw"
"""The column of rejects that holds the text of a malformed line."""
OBJECT = "_lume_object"
"""The column of rejects in a table that shows people the text of an object."""
TABLE = "_lume_table"
"""A column that only files of replays have: their rows, to become objects, came from a table."""
FORM = "_lume_form"
"""A column that only files of replays have: the form of a malformed line, as in the record of its run."""
NUMBER, BOOLEAN = "number", "boolean"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NO_WHOLE = re.compile(r"(-?)(\.[0-9]+)")
"""A DECIMAL without digits before its point: DuckDB writes `.5`, which is not a number in JSON."""
_SEPARATOR = "; "


def value_json(value: str | None, kind: str | None) -> bytes:
    """Convert DuckDB's text of a value to JSON. A number keeps all its digits; `inf` and `nan` become strings."""
    if value is None:
        return b"null"
    if kind == NUMBER and (match := _NO_WHOLE.fullmatch(value)):
        return f"{match[1]}0{match[2]}".encode()
    is_literal = kind == NUMBER and _NUMBER.fullmatch(value)
    if is_literal or (kind == BOOLEAN and value in ("true", "false")):
        return value.encode()
    return orjson.dumps(value)


def object_json(names: Sequence[str], values: Sequence[str | None], kinds: Sequence[str | None]) -> bytes:
    members = (
        orjson.dumps(name) + b":" + value_json(value, kind)
        for name, value, kind in zip(names, values, kinds, strict=True)
    )
    return b"{" + b",".join(members) + b"}"


def reject_json(
    row: int | None,
    line: int | None,
    reasons: list[str],
    rest: bytes,
    own: dict[str, str | int] | None = None,
) -> bytes:
    """Return a reject as JSON: its place in the source, its reasons, and `rest`, the object of its columns."""
    head = orjson.dumps({**(own or {}), "_lume_row": row, "_lume_line": line, "_lume_reasons": reasons})
    return head[:-1] + (b"}" if rest == b"{}" else b"," + rest[1:])


class Reasons:
    """Splits the text of a row's reasons.

    A reason may contain the separator, so the text is matched with the reasons that the run has counted.

    Args:
        spelled: how the file writes a reason.
    """

    def __init__(self, known: Iterable[str], spelled: Callable[[str], str] = str) -> None:
        self._known = {spelled(reason): reason for reason in known}

    def split(self, text: str) -> list[str]:
        """Return the reasons; unknown ones are split at each separator."""
        parts = text.split(_SEPARATOR)
        rests: list[list[str] | None] = [None] * len(parts) + [[]]
        for start in reversed(range(len(parts))):
            for end in range(start + 1, len(parts) + 1):
                reason, rest = self._known.get(_SEPARATOR.join(parts[start:end])), rests[end]
                if reason is not None and rest is not None:
                    rests[start] = [reason, *rest]
                    break
        found = rests[0]
        return [self._known.get(part, part) for part in parts if part] if found is None else found


class Broken(Exception):
    """The file differs from the one that the run wrote; the message says how."""


@frozen
class OutputRow:
    """A row: the JSON object of its columns, and for a reject its number and reasons.

    Attributes:
        kept: the object with the original bytes, if they are not valid UTF-8; `body` has `�` instead.
    """

    body: bytes
    kept: bytes = b""
    row: int | None = None
    line: int | None = None
    reasons: str | None = None


def shown(text: str) -> str:
    """Return a text with `�` in place of bytes that are not valid UTF-8."""
    return text if text.isascii() else text.encode("utf-8", KEPT).decode("utf-8", "replace")


def output_row(names: Sequence[str], values: Sequence[str | None], kinds: Sequence[str | None]) -> OutputRow:
    """Return the row with these values; in rejects Lume's own three columns come first. Raises `Broken`."""
    if list(names[:3]) != [ROW, LINE, REASONS]:
        return OutputRow(*_bodies(names, values, kinds))
    end = -1 if names[-1] == RAW and values[-1] is None else None
    row, line, reasons = values[:3]
    body, kept = _bodies(names[3:end], values[3:end], kinds[3:end])
    return OutputRow(body, kept, _number(row), _number(line), shown(reasons or ""))


def _bodies(
    names: Sequence[str], values: Sequence[str | None], kinds: Sequence[str | None]
) -> tuple[bytes, bytes]:
    """Return the object, and its original form if it has bytes that are not valid UTF-8."""
    try:
        return object_json(names, values, kinds), b""
    except orjson.JSONEncodeError:
        kept = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False)
        texts = [value and shown(value) for value in values]
        return object_json(names, texts, kinds), kept.encode("utf-8", KEPT)


def _number(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise Broken(f"{value[:40]!r} is not the number of a row")
    return int(value)


def text_of(value: Any) -> str | None:
    """Return a value as a flow sees it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


class OutputRows(Protocol):
    """The rows of an open output from some position on."""

    def __iter__(self) -> Iterator[OutputRow]:
        """Yield each row. Raises `Broken`."""
        ...

    def position(self) -> int:
        """Return the position after the last row, from which a later reader continues."""
        ...
