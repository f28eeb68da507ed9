"""The grammar of a line whose columns are known by the positions of their characters. Pure.

A record is a line with every column in it, behind which only blanks may follow. A value is without the blanks around
it, with which it was padded; nothing but blanks is no value.
"""

from functools import cached_property
from typing import Any

from attrs import frozen

from lume_async._base.words import counted
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import APART

_CHARACTER = rb"(?:[^\r\n\x01\x80-\xbf][\x80-\xbf]*+)"
"""A character in UTF-8, except for what ends a line or stands between the columns that DuckDB sees: there is one."""
_PLAIN = rb"[\x00\x02-\x09\x0b\x0c\x0e-\x7f]"
"""The same in ASCII, where it is found ten times as fast."""


@frozen(slots=False)
class FixedWidth:
    """See `Dialect`, whose place it takes: lines have no quotes, and their columns no names of their own.

    Attributes:
        spans: from which character and up to which each column goes.
        trimmed: whether blanks at the end of a line may be missing.
    """

    spans: tuple[tuple[int, int], ...]
    trimmed: bool
    quote = escape = b""
    skips_blank = True

    @classmethod
    def of(cls, fixed: dict[str, Any]) -> "FixedWidth":
        """From a compiled flow's `fixed`."""
        return cls(tuple((start, end) for start, end in fixed["spans"]), fixed["trimmed"])

    @cached_property
    def width(self) -> int:
        """Characters of a record."""
        return max(end for _, end in self.spans)

    any_record = rb"[^\r\n]*+"

    def record(self, columns: int) -> bytes:
        """The pattern of a record, without its line end; of another number of columns there is none."""
        if columns != len(self.spans):
            return rb"(?!)"
        if self.trimmed:
            return rb"%b{1,%d}+ *+" % (_CHARACTER, self.width)
        return rb"(?:%b{%d}|%b{%d}) *+" % (_PLAIN, self.width, _CHARACTER, self.width)

    def split(self, record: bytes) -> list[bytes]:
        """The values of a line, which may be too short."""
        text = record.decode("utf-8", "surrogateescape")
        return [text[start:end].strip(" ").encode("utf-8", "surrogateescape") for start, end in self.spans]

    def value(self, field: bytes) -> bytes:
        """A value is written as it is."""
        return field

    def why_malformed(self, record: bytes, columns: int) -> str:
        """What is wrong with a text that isn't a record of so many columns."""
        if columns != len(self.spans):
            return (
                f"a line has {counted(len(self.spans), 'column')}, and the header of these rejects {columns}"
            )
        return self.why_miscounted(record, columns)

    def why_miscounted(self, record: bytes, columns: int) -> str:
        """What is wrong with a line that isn't a record."""
        if APART in record:
            return "contains the control character U+0001"
        length = len(record.decode("utf-8", "replace"))
        return f"{'shorter' if length < self.width else 'longer'} than {counted(self.width, 'character')}"


class EvenLines:
    """Counts the records of pieces of a file, all of whose lines are in ASCII and of one length. See `Counter`."""

    def __init__(self, grammar: FixedWidth, line_end: bytes) -> None:
        self._width, self._line_end = grammar.width, line_end

    def count(self, data: bytes) -> tuple[int, int] | None:
        """How many records and lines this is; None if that needs a closer look."""
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
    """How a line of a source is read."""
    return FixedWidth.of(flow["fixed"]) if flow["format"] == "fixed" else Dialect.of(flow["csv"])
