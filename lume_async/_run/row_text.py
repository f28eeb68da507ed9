"""Formats rows as the text of a source: CSV in the dialect of a flow version, or JSON. Pure."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from attrs import frozen

from lume_async._base import arguments
from lume_async.errors import InvalidRequestError

_FIRST, _LAST = "_lume_row", "_lume_raw"
"""The columns whose positions identify rejects for the server."""
_PLAIN = 400
"""The largest exponent of a number that is written without one, as the server does."""


@frozen
class CsvDialect:
    """The CSV dialect of a flow version's source."""

    delim: str = ","
    quote: str = '"'
    escape: str = ""
    encoding: str = "utf-8"

    def lines(
        self,
        rows: Sequence[Mapping[str, Any]],
        change: Callable[[str | None], str | None] = lambda text: text,
        *,
        columns: Iterable[str] = (),
    ) -> Iterator[str]:
        """Yield the header and the rows as the server writes them, so that rejects can be submitted again.

        `columns` are in the header even if no row has them. Raises `InvalidRequestError`.
        """
        found = dict.fromkeys((*columns, *(name for row in rows for name in row)))
        names = sorted(found, key=lambda name: (name == _LAST, name != _FIRST))  # stable for all others
        if _FIRST in found or "_lume_line" in found:
            names = [name for name in names if name != _LAST] + [_LAST]
        if not names:
            raise InvalidRequestError("the rows have no columns; no request was sent")
        if odd := [name for name in names if not isinstance(name, str)]:
            raise InvalidRequestError(
                f"the column {odd[0]!r:.60} has a name that is not a string: rename it; no request was sent"
            )
        yield self._line([change(name) for name in names])
        for number, row in enumerate(rows, 1):
            yield self._line([change(_field(row.get(name), number, name)) for name in names])

    def _line(self, values: Sequence[str | None]) -> str:
        if self.quote:
            return self.delim.join(map(self._quoted, values)) + "\n"
        apart = str.maketrans(dict.fromkeys(self.delim + "\r\n", " "))
        *first, last = ("" if value is None else value for value in values)
        # The last one may hold a malformed line with its delimiters.
        return self.delim.join([*(value.translate(apart) for value in first), last]) + "\n"

    def _quoted(self, value: str | None) -> str:
        """Quote the value if needed; a missing one is empty, an empty string is quoted."""
        if value is None:
            return ""
        if (
            value
            and not self.escape
            and not any(one in value for one in (self.delim, self.quote, "\r", "\n"))
        ):
            return value
        escape = self.escape or self.quote
        body = value.replace(escape, escape * 2) if self.escape else value
        return self.quote + body.replace(self.quote, escape + self.quote) + self.quote


def dialect_of(definition: Mapping[str, Any]) -> CsvDialect:
    """Return the dialect for rejects of a flow version; plain CSV if it reads none. Raises `InvalidRequestError`."""
    source = definition.get("source") or {}
    kind = source.get("format", "csv")
    if kind == "sql":
        raise InvalidRequestError("the source of this run is a query of a database: correct the rows there")
    if kind != "csv":
        return CsvDialect()
    options = source.get("csv") or {}
    quote, escape = options.get("quote", '"'), options.get("escape", "")
    return CsvDialect(
        options.get("delim", ","), quote, "" if escape == quote else escape, options.get("encoding", "utf-8")
    )


def json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield NDJSON. Raises `InvalidRequestError`."""
    for number, row in enumerate(rows, 1):
        yield json_text(row, f"row {number:,}") + "\n"


def json_array(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one JSON array. Raises `InvalidRequestError`."""
    before = "[\n"
    for line in json_lines(rows):
        yield before + line.removesuffix("\n")
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def names_of(row: Mapping[Any, Any], place: str) -> list[str]:
    """Return the keys as text. Raises `InvalidRequestError` if two have the same text: one would be lost."""
    names = [str(key) for key in row]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequestError(f"{place}: several columns are named {twice!r:.60}; no request was sent")
    return names


def json_text(value: Any, place: str) -> str:
    """Return compact JSON: all digits of a `Decimal`, ISO 8601 times, NaN as null. Raises `InvalidRequestError`."""
    try:
        return _json(value, place)
    except RecursionError:
        raise InvalidRequestError(f"{place} is nested too deeply; no request was sent") from None


def _json(value: Any, place: str) -> str:
    if isinstance(value, str):
        arguments.text(value, place, InvalidRequestError)
    if isinstance(value, str | bool | int):
        return json.dumps(value, ensure_ascii=False)
    if _is_missing(value):
        return "null"
    if isinstance(value, float | Decimal):
        digits = _number(value) or "null"
        if digits.endswith("Infinity"):
            raise InvalidRequestError(f"{place}: JSON has no infinite numbers; no request was sent")
        return digits
    if isinstance(value, Mapping):
        named = zip(names_of(value, place), value.values(), strict=True)
        items = (f"{json.dumps(name)}:{_json(one, f'{place}.{name}')}" for name, one in named)
        return "{" + ",".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_json(one, place) for one in value) + "]"
    if (text := _plain(value)) is not None:
        return json.dumps(text)
    raise InvalidRequestError(f"{place}: {type(value).__name__} has no text in a source; no request was sent")


def _field(value: Any, row: int, column: str) -> str | None:
    """Return the value as a flow's expressions see it; JSON for objects and lists."""
    if isinstance(value, str):
        return value
    if _is_missing(value):
        return None
    if isinstance(value, float | Decimal):
        return _number(value)
    place = f"row {row:,}, column {column}"
    if column == "_lume_reasons" and isinstance(value, list | tuple):
        return "; ".join(one if isinstance(one, str) else json_text(one, place) for one in value)
    return _plain(value) or json_text(value, place)


def _number(value: float | Decimal) -> str | None:
    """Return the digits; None for a NaN, which means a missing value in tables."""
    if isinstance(value, float) and math.isnan(value):
        return None
    number = Decimal(str(float(value) if isinstance(value, float) else value))
    if number.is_nan():
        return None
    if not number.is_finite() or abs(number.adjusted()) > _PLAIN:
        return str(number)
    return format(number, "f")


def _is_missing(value: Any) -> bool:
    """Return whether it is None, or pandas' substitute for it."""
    return value is None or type(value).__name__ in ("NaTType", "NAType")


def _plain(value: Any) -> str | None:
    """Return the text of a time or a UUID."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else None
