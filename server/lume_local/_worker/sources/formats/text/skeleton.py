"""Checks without a grammar whether a piece of a CSV file is well-formed, which is several times as fast. Pure.

If quoted fields and all other bytes are removed, well-formed records leave only delimiters and line ends, in a known
pattern. There are two ways to remove quoted fields:
- Quotes after a delimiter or line end become a mark. If marks and the remaining quotes alternate, and a delimiter or
  line end follows each remaining one, each pair encloses a whole field without quotes, as the grammar reads it, too.
- If that fails, for example because fields contain quotes: from left to right, each only between delimiters or line
  ends. If no quote is left, there was none elsewhere, and each was read as the grammar says.
"""

import re

from lume_local._worker.sources.files import count_lines
from lume_local._worker.sources.formats.text.dialect import Dialect

_BYTES = bytes(range(256))
_OPEN = b"\x01"
_ALL = (0, 1)
"""Places of quotes that open a field: after a delimiter, at the beginning of a line."""
_PIECE = 50_000
"""Bytes to process at a time: the copies then stay in the CPU cache, and in memory that is already allocated."""


class Skeleton:
    """Counts the records in pieces of one file.

    Args:
        columns: the number of fields of a record.
        line_end: the line end that every record must have, other than a lone `\\r`.
    """

    def __init__(self, dialect: Dialect, columns: int, line_end: bytes) -> None:
        self._line_end, self._quote, self._delim = line_end, dialect.quote, dialect.delim
        self._columns = columns
        structure = dialect.delim + dialect.quote + b"\r\n"
        self._others = _BYTES.translate(None, structure)
        if dialect.quote:
            quote, delim = re.escape(dialect.quote), re.escape(dialect.delim)
            # The quote first, its left context second, so that the engine searches for a single byte.
            self._quoted = re.compile(
                b"%b(?<=[%b\\n]%b)%b(?=%b|%b)"
                % (quote, delim, quote, dialect.quoted_after_the_first, delim, line_end)
            )
        self._marking = [(before + dialect.quote, before + _OPEN) for before in (dialect.delim, b"\n")]
        self._needed: tuple[int, ...] = _ALL
        is_plain = dialect.quote == dialect.escape and len(dialect.delim) == 1
        self._has_marks = is_plain and _OPEN not in structure
        self._but_pairs = _BYTES.translate(None, _OPEN + dialect.quote)
        self._but_marked = self._others.translate(None, _OPEN)

    def count(self, data: bytes) -> tuple[int, int] | None:
        """Return the numbers of records and lines, if all of it is well-formed; None if that needs a closer look.

        `data` begins where a record begins and ends with a line end.
        """
        records = at = 0
        while at < len(data):
            end = data.rfind(self._line_end, at, at + _PIECE)
            end = len(data) if end < 0 else end + len(self._line_end)
            piece, at = data[at:end], end
            if not self._quote or self._quote not in piece:
                count = self._records(self._line_end + piece, self._line_end)
            else:
                count = self._marked(piece) if self._has_marks else None
            if count is None:
                break
            records += count
        else:
            return records, records
        if not self._quote:
            return None
        count = self._records(self._quoted.sub(b"", self._line_end + data), self._line_end)  # the second way
        return None if count is None else (count, count_lines(data))

    def _records(self, bare: bytes, line_end: bytes) -> int | None:
        """Return the number of records between line ends; the first line end precedes all records."""
        if line_end == b"\r\n" and not bare.count(b"\r\n") == bare.count(b"\r") == bare.count(b"\n"):
            return None  # two halves with something between them would become one line end
        return self._bones(bare.translate(None, self._others), line_end)

    def _bones(self, bones: bytes, line_end: bytes) -> int | None:
        record = self._delim * (self._columns - 1) + line_end
        count, rest = divmod(len(bones) - len(line_end), len(record))
        return count if not rest and bones == line_end + record * count else None

    def _marked(self, data: bytes) -> int | None:
        """Count in the first way, for fields without quotes and line ends."""
        quote, delim, end = self._quote, self._delim, b"\n"
        if _OPEN in data:
            return None
        if self._line_end == b"\r\n":
            single = data.replace(b"\r\n", b"\n")
            if b"\r" in single or single.count(b"\n") != len(data) - len(single):
                return None
            data = single
        bones = self._bones_with_marks(end + data)
        if bones is None:
            return None
        first = bones[1 : bones.index(end, 1) + 1]
        alike = len(bones) // len(first)
        if bones == end + first * alike:  # one stands for all
            bones = end + first
        else:
            alike = 1
        for within in (b"", delim, delim * 2):
            if _OPEN in bones:
                bones = bones.replace(_OPEN + within + quote, b"")
        if _OPEN in bones:
            bones = re.sub(b"%b%b+%b" % (_OPEN, re.escape(delim), re.escape(quote)), b"", bones)
        count = self._bones(bones, end)
        return None if count is None else count * alike

    def _bones_with_marks(self, bare: bytes) -> bytes | None:
        """Return the structure with a mark for each opening quote; None if a quote neither opens nor closes a field.

        Marks are tried first where the previous piece had them.
        """
        for tried in dict.fromkeys((self._needed, _ALL)):
            marked, needed = bare, list[int]()
            for n in tried:
                before = marked
                marked = marked.replace(*self._marking[n])
                if marked is not before:  # else nothing was replaced
                    needed.append(n)
            bones = marked.translate(None, self._but_marked)
            pairs, rest = divmod(len(marks := bones.translate(None, self._but_pairs)), 2)
            if not rest and marks == (_OPEN + self._quote) * pairs:
                self._needed = tuple(needed)
                closed = marked.count(self._quote + b"\n")
                closed += 0 if closed == pairs else marked.count(self._quote + self._delim)
                return bones if closed == pairs else None
        return None
