"""The grammar of a CSV file in one dialect, as regular expressions over bytes. Pure.

Strict RFC 4180: a field is either quoted as a whole or contains no quote at all; within quotes, quotes are escaped
and nothing else is. A record ends with a line end; line ends within quotes are data.

Every repetition is possessive (`*+`): text is read in only one way, and in one pass.
"""

import re
from functools import cached_property
from typing import Any

from attrs import frozen

from lume_async._base.words import counted

LINE_END = rb"(?:\r\n?+|\n)"
BROKEN_QUOTES = "broken quotes"
APART = b"\x01"
"""Separates an NDJSON line as it is read from the original line; strict JSON can't contain it."""
_REACH = 256 * 1024
"""Bytes after which a case without a cut is given up: it is hardly the real one."""
_UNROLLED = 64
"""Columns up to which each has its own part of the pattern: a third faster than a repetition."""


@frozen(slots=False)
class Dialect:
    """One dialect. `quote` may be empty; `escape`, used only within quotes, is the quote or another character."""

    delim: bytes
    quote: bytes
    escape: bytes
    skips_blank = False
    """Whether a blank line is never a record, even where it could be an empty value."""

    @classmethod
    def of(cls, options: dict[str, str]) -> "Dialect":
        """Convert a compiled flow's `csv`."""
        quote = options["quote"]
        return cls(options["delim"].encode(), quote.encode(), (options["escape"] or quote).encode())

    @cached_property
    def _plain(self) -> bytes:
        return b"[^" + re.escape(self.delim + self.quote) + rb"\r\n]*+"

    @cached_property
    def quoted_after_the_first(self) -> bytes:
        """The pattern of a quoted field after its first quote."""
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        if quote == escape:
            return b"[^%b]*+(?:%b%b[^%b]*+)*+%b" % (quote, quote, quote, quote, quote)
        plain = b"[^%b%b]*+" % (quote, escape)
        return b"%b(?:%b[%b%b]%b)*+%b" % (plain, escape, quote, escape, plain, quote)

    @cached_property
    def _quoted(self) -> bytes:
        return re.escape(self.quote) + self.quoted_after_the_first

    @cached_property
    def unclosed(self) -> bytes:
        """The pattern of a record whose last field has a quote that is not closed before the end of the text."""
        quote, escape, delim = re.escape(self.quote), re.escape(self.escape), re.escape(self.delim)
        field = b"(?:%b|%b)" % (self._quoted, self._plain)
        if quote == escape:
            open_field = b"%b[^%b]*+(?:%b%b[^%b]*+)*+" % (quote, quote, quote, quote, quote)
        else:
            within = b"[^%b%b]|%b[%b%b]" % (quote, escape, escape, quote, escape)
            open_field = b"%b(?:%b)*+%b?+" % (quote, within, escape)
        return b"(?:%b%b)*+%b\\Z" % (field, delim, open_field)

    @cached_property
    def field(self) -> bytes:
        """The pattern of one field, the more usual form first; the context decides if it is empty."""
        return b"(?:%b|%b)" % (self._plain, self._quoted) if self.quote else self._plain

    def record(self, columns: int) -> bytes:
        """Return the pattern of a record with so many fields, without its line end."""
        delim = re.escape(self.delim)
        if columns <= _UNROLLED:
            return delim.join([self.field] * columns)
        return b"%b(?:%b%b){%d}" % (self.field, delim, self.field, columns - 1)

    @cached_property
    def any_record(self) -> bytes:
        """The pattern of a record with any number of fields, without its line end."""
        # The quoted form first, as a possessive repetition never returns to an alternative.
        field = b"(?:%b|%b)" % (self._quoted, self._plain) if self.quote else self._plain
        return b"%b(?:%b%b)*+" % (field, re.escape(self.delim), field)

    @cached_property
    def _field(self) -> re.Pattern[bytes]:
        return re.compile(b"%b(?=%b|\\Z)" % (self.field, re.escape(self.delim)))

    def split(self, record: bytes) -> list[bytes]:
        """Return the fields of a well-formed record (without its line end), as they are written."""
        if not self.quote or self.quote not in record:
            return record.split(self.delim)
        fields, at = [], 0
        while match := self._field.match(record, at):
            fields.append(match[0])
            at = match.end() + 1
            if at > len(record):
                break
        return fields

    def why_malformed(self, record: bytes, columns: int) -> str:
        """Return why a text isn't a record of so many fields."""
        if re.compile(self.any_record + rb"\Z").match(record) is None:
            return BROKEN_QUOTES
        return self.why_miscounted(record, columns)

    def why_miscounted(self, record: bytes, columns: int) -> str:
        """Return why a well-formed record has the wrong number of fields."""
        return "too few columns" if len(self.split(record)) < columns else "too many columns"

    def value(self, field: bytes) -> bytes:
        if not self.quote or not field.startswith(self.quote):
            return field
        escaped = re.escape(self.escape) + b"([" + re.escape(self.quote + self.escape) + b"])"
        return re.sub(escaped, rb"\1", field[1:-1])

    def as_field(self, value: bytes) -> bytes:
        if not self.quote:
            return value
        body = value
        if self.escape != self.quote:
            body = body.replace(self.escape, self.escape * 2)
        body = body.replace(self.quote, self.escape + self.quote)
        return b"".join((self.quote, body, self.quote))  # one copy, as the value may be large


_CHARACTER = rb"(?:[^\r\n\x01\x80-\xbf][\x80-\xbf]*+)"
"""A character in UTF-8, except for line ends and the separator of the columns for DuckDB (there is one column)."""
_PLAIN = rb"[\x00\x02-\x09\x0b\x0c\x0e-\x7f]"
"""The same in ASCII, where it is found ten times as fast."""


@frozen(slots=False)
class FixedWidth:
    """Stands in for `Dialect`: lines have no quotes, and their columns no names of their own.

    Attributes:
        spans: the first character of each column, and the one after its last.
        trimmed: whether blanks at the end of a line may be missing.
    """

    spans: tuple[tuple[int, int], ...]
    trimmed: bool
    quote = escape = b""
    skips_blank = True

    @classmethod
    def of(cls, fixed: dict[str, Any]) -> "FixedWidth":
        """Convert a compiled flow's `fixed`."""
        return cls(tuple((start, end) for start, end in fixed["spans"]), fixed["trimmed"])

    @cached_property
    def width(self) -> int:
        """Characters of a record."""
        return max(end for _, end in self.spans)

    any_record = rb"[^\r\n]*+"

    def record(self, columns: int) -> bytes:
        """Return the pattern of a record without its line end; for another number of columns it matches nothing."""
        if columns != len(self.spans):
            return rb"(?!)"
        if self.trimmed:
            return rb"%b{1,%d}+ *+" % (_CHARACTER, self.width)
        return rb"(?:%b{%d}|%b{%d}) *+" % (_PLAIN, self.width, _CHARACTER, self.width)

    def split(self, record: bytes) -> list[bytes]:
        """Return the values of a line, which may be too short."""
        text = record.decode("utf-8", "surrogateescape")
        return [text[start:end].strip(" ").encode("utf-8", "surrogateescape") for start, end in self.spans]

    def value(self, field: bytes) -> bytes:
        return field

    def why_malformed(self, record: bytes, columns: int) -> str:
        """Return why a text isn't a record of so many columns."""
        if columns != len(self.spans):
            return (
                f"a line has {counted(len(self.spans), 'column')}, and the header of these rejects {columns}"
            )
        return self.why_miscounted(record, columns)

    def why_miscounted(self, record: bytes, columns: int) -> str:
        """Return why a line isn't a record."""
        if APART in record:
            return "contains the control character U+0001"
        length = len(record.decode("utf-8", "replace"))
        return f"{'shorter' if length < self.width else 'longer'} than {counted(self.width, 'character')}"


class EvenLines:
    """Counts the records in pieces of a file whose lines are all ASCII and equally long. See `CountsRecords`."""

    def __init__(self, grammar: FixedWidth, line_end: bytes) -> None:
        self._width, self._line_end = grammar.width, line_end

    def count(self, data: bytes) -> tuple[int, int] | None:
        """Return the numbers of records and lines; None if that needs a closer look."""
        count, rest = divmod(len(data), self._width + len(self._line_end))
        if rest or not data.isascii() or APART in data or data.count(self._line_end) != count:
            return None
        ends = data.count(b"\r") + data.count(b"\n") == count * len(self._line_end)
        at_ends = all(
            data[self._width + n :: self._width + len(self._line_end)] == bytes([byte]) * count
            for n, byte in enumerate(self._line_end)
        )
        return (count, count) if ends and at_ends else None


class Quotes:
    """Counts the quotes of a dialect.

    Args:
        csv: a compiled flow's `csv`; None for lines without quotes.
    """

    def __init__(self, csv: dict[str, str] | None) -> None:
        self.quote = csv["quote"].encode() if csv is not None else b""
        escape = csv["escape"].encode() if csv is not None else b""
        self.escape = escape if escape != self.quote else b""
        # A separate escape character cancels the meaning of the next one.
        pair = b"%b[%b%b]" % (re.escape(self.escape), re.escape(self.quote), re.escape(self.escape))
        self._escaped = re.compile(pair) if self.escape else None

    def bare(self, data: bytes) -> bytes:
        """Return data of the same length, without escaped quotes."""
        return self._escaped.sub(b"  ", data) if self._escaped is not None else data

    def are_odd(self, data: bytes) -> bool:
        return bool(self.quote) and self.bare(data).count(self.quote) % 2 == 1

    def cuts(self, data: bytes) -> list[int | None]:
        """Return the first cut of a piece that begins outside of quotes, and of one that begins within."""
        found: list[int | None] = [None, None]
        at, within = 0, 0
        while at >= 0 and (found == [None, None] or (None in found and at < _REACH)):
            quote = data.find(self.quote, at) if self.quote else -1
            if found[within] is None:
                end = data.find(b"\n", at, quote if quote >= 0 else len(data))
                found[within] = end + 1 if end >= 0 else None
            at, within = quote + 1 or -1, 1 - within
        return found


def grammar_of(flow: dict[str, Any]) -> Dialect | FixedWidth:
    """Return the grammar of a source's lines."""
    return FixedWidth.of(flow["fixed"]) if flow["format"] == "fixed" else Dialect.of(flow["csv"])
