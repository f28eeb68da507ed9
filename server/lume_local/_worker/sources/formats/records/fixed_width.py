"""The grammar of a line whose columns have fixed character positions. Pure.

A record is a line with every column; only blanks may follow. Padding blanks are not part of a value, and blanks alone
are no value.
"""

from functools import cached_property
from typing import Any

from attrs import frozen

from lume_async._base.words import counted
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import APART

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
        """Return the value as it is written."""
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


def grammar_of(flow: dict[str, Any]) -> Dialect | FixedWidth:
    """Return the grammar of a source's lines."""
    return FixedWidth.of(flow["fixed"]) if flow["format"] == "fixed" else Dialect.of(flow["csv"])
