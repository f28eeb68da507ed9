"""Infers column types from a sample. Pure, and conservative: a code such as 00123 stays a string."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date, datetime

from lume_cli._work.flow.flow_guess import guess

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_CODE = re.compile(r"[+-]?0\d+")
"""Digits that would lose leading zeros as a number."""
_FEW = 8
"""At most this many distinct values look like an enumeration."""
_ENOUGH = 0.95
"""The share of values that must match a type; a flow rejects the others."""

DELIMITERS = ",;\t|"
_MOST = 0.7
"""The share of lines that must have as many values as the header."""


class SampleColumn:
    """What the sample shows about one source column.

    Attributes:
        source: its name in the file.
        type: the JSON Schema type.
        format: its format, if it has one.
        sql_type: the SQL type, if it is not the default.
        spaces: whether values are padded with spaces; those with line breaks, caused by a stray quote, don't count.
        required: whether no value is empty.
        unique: whether all values are distinct.
        blanks: how many values are empty, if so few that they may be mistakes.
        twins: the values that occur more than once, if there are few.
        sql: an expression with `{column}` that reads the values, if a plain column does not.
        about: what to check about it.
        values: the distinct values, if they look like an enumeration; empty if a cleaner changes them.
        misfits: the values that don't match the type.
    """

    def __init__(self, source: str, values: Sequence[str]) -> None:
        self.source = source
        filled = [value.strip() for value in values if value.strip()]
        self.spaces = any(value != value.strip() for value in values if not {"\n", "\r"} & {*value})
        self.required = bool(filled) and len(filled) == len(values)
        few = len(values) * (1 - _ENOUGH)
        self.blanks = blanks if 0 < (blanks := len(values) - len(filled)) <= few else 0
        distinct = len(filled) > 1 and len(set(filled)) == len(filled)
        self.unique = distinct and (self.required or self.blanks > 0)
        again = sorted(value for value, count in Counter(filled).items() if count > 1)
        self.twins = again if len(filled) - len(set(filled)) <= few else []
        self.type, self.format, self.sql_type, self.misfits = _kind(filled)
        self.sql, self.about = "", ""
        if (self.type, self.format) == ("string", None) and (guessed := guess(source, filled)) is not None:
            self.sql, self.about, self.misfits = guessed.sql, guessed.about, guessed.misfits
            self.type, self.format, self.sql_type = guessed.kind
        different = sorted(set(filled))
        listed = (self.type, self.format, self.sql) == ("string", None, "")
        many = len(filled) >= 4 * len(different)
        self.values = different if listed and many and len(different) <= _FEW else []


def delimiter(lines: Sequence[str]) -> str:
    """The delimiter that splits the header into the most columns, preferably as many as most of the lines have.

    Not as many as all of them have: a flow rejects ragged rows.
    """

    def merit(mark: str) -> tuple[bool, int, float]:
        with suppress(csv.Error):
            widths = [len(row) for row in csv.reader(lines, delimiter=mark) if row]
            if widths and widths[0] > 1:
                share = widths.count(widths[0]) / len(widths)
                return share >= _MOST, widths[0], share
        return False, 0, 0.0

    return max(DELIMITERS, key=merit)


def infer(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[SampleColumn]:
    """The columns; rows that are too short or too long are skipped."""
    fitting = [row for row in rows if len(row) == len(header)]
    columns = [SampleColumn(name, [row[index] for row in fitting]) for index, name in enumerate(header)]
    _set_phone_countries(columns)
    return columns


def _set_phone_countries(columns: Sequence[SampleColumn]) -> None:
    """Read phone numbers without + by the country column of the same row."""
    country = next((column.source for column in columns if column.sql == "country_code({column})"), None)
    for column in columns:
        if country is not None and column.sql == "parse_phone({column})" and column.about:
            name = '"' + country.replace('"', '""').replace("{", "{{").replace("}", "}}") + '"'
            column.sql = f"parse_phone({{column}}, TRY(country_code({name})))"
            column.about, column.misfits = f"numbers without + get their country from {country}", []


def _kind(values: Sequence[str]) -> tuple[str, str | None, str | None, list[str]]:
    """The type, format and SQL type that (nearly) all values match, and the values that don't."""
    best: tuple[str, str | None, str | None, list[str]] = ("string", None, None, [])
    fewest = len(values) * (1 - _ENOUGH) if values else -1.0
    codes = any(map(_CODE.fullmatch, values))
    for fits, kind in _KINDS:
        misfits = [value for value in values if not fits(value)]
        if len(misfits) <= fewest and not (codes and kind[0] in ("integer", "number")):
            best, fewest = (*kind, misfits), len(misfits) - 1
    return best


def _is_date(value: str) -> bool:
    with suppress(ValueError):
        return len(value) == 10 and value[4] == "-" and bool(date.fromisoformat(value))
    return False


def _is_time(value: str, *, zoned: bool) -> bool:
    with suppress(ValueError):
        return (
            len(value) >= 16
            and value[4] == "-"
            and (datetime.fromisoformat(value).tzinfo is not None) == zoned
        )
    return False


_KINDS: tuple[tuple[Callable[[str], object], tuple[str, str | None, str | None]], ...] = (
    (_INTEGER.fullmatch, ("integer", None, None)),
    (_NUMBER.fullmatch, ("number", None, None)),
    (lambda value: value.lower() in ("true", "false"), ("boolean", None, None)),
    (_is_date, ("string", "date", None)),
    (lambda value: _is_time(value, zoned=True), ("string", "date-time", None)),
    (lambda value: _is_time(value, zoned=False), ("string", "date-time", "TIMESTAMP")),
    (_EMAIL.fullmatch, ("string", "email", None)),
)
"""Tests for each kind of value; of two that match equally well the first wins."""
