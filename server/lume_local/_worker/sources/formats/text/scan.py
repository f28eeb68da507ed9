"""Splits a CSV file into records, strictly: each is well-formed with the right number of fields, or a reject.

A malformed record costs only its first physical line, and reading continues with the next one, so that a stray quote
doesn't lose the rest of the file. Nearly all of a file is taken in long runs of well-formed records, within the
regular-expression engine; the rest, line by line.
"""

import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from lume_local._worker.sources.files import LONGEST_LINE, count_lines, is_utf8
from lume_local._worker.sources.formats.text.dialect import BROKEN_QUOTES, LINE_END, Dialect, FixedWidth
from lume_local._worker.sources.intake import Account, Copy, Malformed, RefusedLine
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sources.mending.lost_letters import INVALID
from lume_local._worker.sources.source import SourceError

_BLOCK = 512 * 1024
"""Bytes to read at a time: they stay in the CPU cache and in memory that is already allocated."""
_BLANK = re.compile(b"(?:%b)++" % LINE_END)
_LINE = re.compile(rb"([^\r\n]*+)(" + LINE_END + rb")?+")


class CountsRecords(Protocol):
    """Counts records without their grammar where it can, which is several times as fast."""

    def count(self, data: bytes) -> tuple[int, int] | None:
        """Return the numbers of records and lines; None if that needs a closer look.

        `data` begins where a record begins and ends with a line end.
        """
        ...


class TakesLines(Protocol):
    """Takes records in place of DuckDB.

    Attributes:
        record: the pattern of a record, without its line end.
        form: how a line that is no record is read once it is corrected, if known.
    """

    record: bytes
    form: LineForm | None

    def take(self, line: int, record: bytes) -> None:
        """Take the record that begins at a line of the file."""


class Scanner:
    """Reads one file from the end of its header to its own end.

    Args:
        start: where the header ends.
        columns: the number of fields of a record.
        form: how a line that is no record is read once it is corrected.
        counter: counts most of the records.
        line_end: the usual one of this file; any other is read as well.
        limit: the most bytes of a record.
        account: counts records and lines; it already has the header's lines.
        malformed: collects everything that is not a record.
        copy: collects what DuckDB reads.
        pause: called every few megabytes; it may raise.
        into: takes the records, one by one, in place of `copy`.
        comment: the beginning of lines that are no records; empty if there are none.
        stop: the byte at which the records end; None for the end of the file.
    """

    def __init__(
        self,
        path: Path,
        start: int,
        dialect: Dialect | FixedWidth,
        columns: int,
        form: LineForm | None,
        counter: CountsRecords,
        line_end: bytes,
        limit: int,
        account: Account,
        malformed: Malformed,
        copy: Copy,
        pause: Callable[[], None],
        into: TakesLines | None = None,
        comment: bytes = b"",
        stop: int | None = None,
    ) -> None:
        self._path, self._form = path, form
        self._dialect, self._columns, self._line_end, self._limit = dialect, columns, line_end, limit
        self._account, self._malformed, self._copy = account, malformed, copy
        self._pause, self._into, self._comment, self._stop = pause, into, comment, stop
        record = dialect.record(columns) if into is None else into.record
        if comment:
            record = b"(?!%b)%b" % (re.escape(comment), record)
        self._each = re.compile(record + line_end)
        # A lone \r may be the first half of \r\n, unless another character follows.
        self._usual = re.compile(record + rb"\r(?=[^\n])") if line_end == b"\r" else self._each
        self._counter, self._skips_blank = counter, columns > 1 or dialect.skips_blank
        self._quick_from = 0 if into is None and line_end != b"\r" else sys.maxsize
        self._single = re.compile(b"(%b)(%b)" % (record, LINE_END))
        self._last = re.compile(b"(%b)()\\Z" % record)
        self._other = re.compile(b"(%b)%b" % (dialect.any_record, LINE_END))
        self._other_last = re.compile(b"(%b)\\Z" % dialect.any_record)
        # The buffer holds the file from byte `_base`; everything before `_at` in it has been taken.
        self._buffer, self._base, self._at, self._ended = b"", start, 0, False
        self.spans_lines = False

    def scan(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._base)
            while self._more(file, _BLOCK):
                self._mark()
                before = self._at
                self._take_run()
                if self._at == before:
                    self._more(file, self._limit + 2)
                    self._take_one(file)
        self._mark(is_last=True)
        if self._stop is not None:
            self._begin_copy()  # leaving out what follows

    def _mark(self, *, is_last: bool = False) -> None:
        """Note the place of the row that begins here."""
        if self._into is None:
            account, malformed = self._account, self._malformed
            at = self._base + self._at
            malformed.places.mark(account.records - malformed.total, account.lines + 1, at, is_last=is_last)

    def _more(self, file: BinaryIO, wanted: int) -> bool:
        """Read until the buffer holds so many bytes, if the file does; return False at the end."""
        while not self._ended and (missing := wanted - len(self._buffer) + self._at) > 0:
            block = self._block(file, missing)
            self._buffer, self._base, self._at = self._buffer[self._at :] + block, self._base + self._at, 0
        return self._at < len(self._buffer)

    def _block(self, file: BinaryIO, least: int = 0) -> bytes:
        """Return the next bytes, never only the first half of a line end."""
        self._pause()
        block = file.read(self._left(file, max(_BLOCK, least)))
        while block.endswith(b"\r") and (byte := file.read(self._left(file, 1))):
            block += byte
        self._ended = not block
        return block

    def _left(self, file: BinaryIO, most: int) -> int:
        return most if self._stop is None else max(0, min(most, self._stop - file.tell()))

    @property
    def _end(self) -> int:
        """The latest possible end of a record that begins here."""
        return min(self._at + self._limit, len(self._buffer))

    @property
    def _is_last(self) -> bool:
        return self._ended and self._end == len(self._buffer)

    def _take_run(self) -> None:
        """Take as many consecutive well-formed records with the usual line end as possible."""
        data, counts = self._quick_run() if self._base + self._at >= self._quick_from else (b"", None)
        if counts is None:
            # Record by record, up to the first that isn't well-formed.
            run = iter(self._usual.scanner(self._buffer, self._at, self._end).match, None)  # type: ignore[attr-defined]
            last = deque(enumerate(run, 1), maxlen=1)
            data, count = (self._buffer[self._at : last[0][1].end()], last[0][0]) if last else (b"", 0)
            counts = count, count_lines(data)
        count, lines = counts
        if self._into is not None or not is_utf8(data):
            for record in self._each.finditer(data):
                self._take(record[0].removesuffix(self._line_end), self._line_end)
            return
        self._note_lines(lines - count)
        if not self._copy.begun or self._line_end == b"\n":
            kept = data
        elif lines == count:
            kept = data.replace(self._line_end, b"\n")
        else:
            kept = b"".join(
                record[0].removesuffix(self._line_end) + b"\n" for record in self._each.finditer(data)
            )
        self._copy.keep(kept)
        self._account.records += count
        self._account.lines += lines
        self._at += len(data)

    def _quick_run(self) -> tuple[bytes, tuple[int, int] | None]:
        """Return everything up to the last line end in reach, with its records and lines if all is well-formed."""
        end = self._buffer.rfind(self._line_end, self._at, self._end)
        data = self._buffer[self._at : end + len(self._line_end)] if end >= 0 else b""
        has_comment = bool(self._comment) and (
            data.startswith(self._comment) or b"\n" + self._comment in data
        )
        counts = self._counter.count(data) if data and not has_comment else None
        if counts is None:
            self._quick_from = self._base + self._end  # the obstacle need be found only once
        return data, counts

    def _note_lines(self, within: int) -> None:
        """Note line ends within quotes, beside which DuckDB reliably accepts only a plain `\\n` as a line end."""
        if within:
            self.spans_lines = True
            if self._line_end != b"\n":
                self._begin_copy()

    def _begin_copy(self) -> None:
        if self._into is None:
            self._copy.begin(self._base + self._at)

    def _take_one(self, file: BinaryIO) -> None:
        """Take anything that is not a well-formed record with the usual line end."""
        blank = _BLANK.match(self._buffer, self._at)
        if blank is not None and self._skips_blank:
            is_end = self._ended and blank.end() == len(self._buffer)
            if not is_end or blank[0].replace(self._line_end, b""):  # DuckDB skips its own line ends there
                self._begin_copy()
            self._skip("blank", count_lines(blank[0]))
            self._at = blank.end()
            return
        if self._comment and self._buffer.startswith(self._comment, self._at):
            self._begin_copy()
            deque(self._long_line(file), maxlen=0)
            self._skip("comments", 1)
            return
        match = self._single.match(self._buffer, self._at, self._end)
        if match is None and self._is_last:
            match = self._last.match(self._buffer, self._at)
        if match is not None:
            self._take(match[1], match[2])
        else:
            self._refuse_line(file)

    def _take(self, record: bytes, end: bytes) -> None:
        """Take one well-formed record."""
        within, line = count_lines(record), self._account.lines + 1
        if self._into is not None:
            self._into.take(line, record)
        elif is_utf8(record):
            if end not in (self._line_end, b""):
                self._begin_copy()
            self._note_lines(within)
            self._copy.keep(record + b"\n" if self._copy.begun else record + end)
        else:
            self._begin_copy()
            self._malformed.refuse(line, RefusedLine(INVALID, record, form=self._form))
        self._account.records += 1
        self._account.lines += within + 1
        self._at += len(record) + len(end)

    def _skip(self, kind: str, lines: int) -> None:
        self._account.skip({kind: lines})
        self._account.lines += lines

    def _refuse_line(self, file: BinaryIO) -> None:
        """Reject the physical line that begins here."""
        self._begin_copy()
        line, number = _LINE.match(self._buffer, self._at), self._account.lines + 1
        assert line is not None
        if line.end(1) - self._at > self._limit:
            self._malformed.note_form("", self._form)
            self._malformed.add_long(number, f"longer than {self._limit:,} bytes", self._long_line(file))
        else:
            why = INVALID
            if is_utf8(line[1]):
                other = self._other.match(self._buffer, self._at, self._end)
                if other is None and self._is_last:
                    other = self._other_last.match(self._buffer, self._at)
                why = (
                    BROKEN_QUOTES if other is None else self._dialect.why_miscounted(other[1], self._columns)
                )
            self._malformed.refuse(number, RefusedLine(why, line[1], form=self._form))
            self._at = line.end()
        self._account.records += 1
        self._account.lines += 1

    def _long_line(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the parts of the line that begins here, and forget each."""
        length = 0
        while True:
            line = _LINE.match(self._buffer, self._at)
            assert line is not None
            length += line.end(1) - self._at
            if length > LONGEST_LINE:
                raise SourceError(
                    f"line {self._account.lines + 1:,} is longer than {LONGEST_LINE:,} bytes: "
                    "does the file match the flow's [source]?"
                )
            yield line[1]
            self._at = line.end()
            if line[2] or self._ended:
                return
            self._base, self._buffer, self._at = self._base + self._at, self._block(file), 0
