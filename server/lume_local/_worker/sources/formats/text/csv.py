"""Prepares a source of lines, CSV or fixed columns, for DuckDB: its header, its columns, every record well-formed."""

# ruff: noqa: S608 - the parts of its SQL are constants, numbers or quoted.
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from attrs import evolve, field, frozen

from lume_async._base.words import counted
from lume_local._flow.definition import RESERVED
from lume_local._flow.table_bounds import LOOKED_AT, joined
from lume_local._worker.sources.files import BOM, count_lines
from lume_local._worker.sources.formats.names import (
    column_trouble,
    other_delimiter,
    readable,
    relation_of_table,
    version_for,
    visible_columns,
)
from lume_local._worker.sources.formats.table_edges import (
    LINE,
    TAIL,
    Footer,
    footer_in,
    header_not_found,
    is_header,
    kind_of,
    whole_lines,
)
from lume_local._worker.sources.formats.text.dialect import LINE_END, Dialect, EvenLines, FixedWidth
from lume_local._worker.sources.formats.text.scan import CountsRecords, Scanner, TakesLines
from lume_local._worker.sources.formats.text.skeleton import Skeleton
from lume_local._worker.sources.intake import Copy, Reading
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import LINES, csv_reader
from lume_local._worker.statements import Relation

_LONGEST = 1024 * 1024


@frozen
class Header:
    """The part before the first record.

    Attributes:
        names: as they are written, without surrounding spaces.
        line_end: the header's; empty if the file ends with it.
        end: the byte where the first record begins.
        lines: physical lines before that.
        skipped: the number of these lines outside of the header, by kind.
        longest: bytes of its longest record.
    """

    names: list[str]
    line_end: bytes
    end: int
    lines: int
    skipped: dict[str, int]
    longest: int


def header_of(
    path: Path, dialect: Dialect | FixedWidth, flow: dict[str, Any], shown: str, *, is_beginning: bool = True
) -> Header:
    """Find the header. Raises `SourceError`."""
    with path.open("rb") as file:
        start = start_of(file)
    return FirstLines.of(start, dialect, flow, is_beginning=is_beginning).header(flow, shown)


def start_of(file: BinaryIO) -> bytes:
    """Return the beginning of a file, in which its header must end."""
    start = file.read(_LONGEST)
    return start + (file.read(1) if start.endswith(b"\r") else b"")


_UNREADABLE, _TOO_LONG, _NAMELESS = "unreadable", "too long", "nameless"


@frozen(slots=False)
class FirstLines:
    """The beginning of a file in one grammar; each line is read as a header only once, for however many flows.

    Attributes:
        comment: what a comment begins with, if there are any.
        count: the number of lines of a header.
    """

    start: bytes = field(repr=False)
    begin: int
    dialect: Dialect | FixedWidth
    comment: bytes
    count: int
    _read: dict[int, Header | str] = field(factory=dict, init=False, repr=False)
    """By their first byte: headers without what is above them, or why a line can't be one."""

    @classmethod
    def of(
        cls, start: bytes, dialect: Dialect | FixedWidth, flow: dict[str, Any], *, is_beginning: bool = True
    ) -> "FirstLines":
        begin = len(BOM) if is_beginning and start.startswith(BOM) else 0
        return cls(start, begin, dialect, flow["comment"].encode(), flow["header"]["lines"])

    def header(self, flow: dict[str, Any], shown: str) -> Header:
        """Return the header that a flow looks for. Raises `SourceError`."""
        if names := flow["header"]["names"]:
            end = re.search(LINE_END, self.start)
            return Header(list(names), end[0] if end else b"", self.begin, 0, {}, 0)
        found = self._found(flow, shown)
        fixed = flow["fixed"] if isinstance(self.dialect, FixedWidth) else None
        return evolve(found, names=list(fixed["names"])) if fixed and fixed["names"] else found

    def names(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each line that can be a header, and the names in it."""
        for number, (at, kind) in enumerate(self._lines(), 1):
            found = "" if kind else self._read_at(at)
            if isinstance(found, Header):
                yield number, found.names

    def _found(self, flow: dict[str, Any], shown: str) -> Header:
        row, kinds, found = flow["header"]["row"], list[str](), list[tuple[int, list[str]]]()
        if row == 1:
            at = self.begin
            # Only comments may be skipped there, and with them blank lines.
            while self.comment and at < len(self.start):
                end = self._next(at)
                if not (kind := kind_of(self.start[at:end], self.comment)):
                    break
                kinds.append(kind)
                at = end
            return self._below(kinds, at, flow, shown)
        for at, kind in self._lines():
            if row == len(kinds) + 1:
                return self._below(kinds, at, flow, shown)
            header = self._read_at(at) if not row and not kind else ""
            if isinstance(header, Header):
                found.append((len(kinds) + 1, header.names))
                if is_header(flow, header.names):
                    return self._below(kinds, at, flow, shown)
            kinds.append("comments" if kind == "comments" else "preamble")
        if row:
            raise SourceError(f"{shown} has {counted(len(kinds), 'line')}: its header should be line {row:,}")
        raise SourceError(header_not_found(flow, shown, found))

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines that are searched: where each begins, and its kind (see `kind_of`)."""
        at, number = self.begin, 0
        while at < len(self.start) and number < LOOKED_AT:
            end = self._next(at)
            yield at, kind_of(self.start[at:end], self.comment)
            at, number = end, number + 1

    def _next(self, at: int) -> int:
        line = LINE.match(self.start, at)
        assert line is not None
        return line.end()

    def _below(self, above: list[str], at: int, flow: dict[str, Any], shown: str) -> Header:
        """Return the header whose first line is at byte `at`, below lines of these kinds. Raises `SourceError`."""
        found = self._read_at(at)
        if isinstance(found, Header):
            return evolve(found, lines=found.lines + len(above), skipped=dict(Counter(above)))
        if found == _UNREADABLE:
            raise SourceError(_unreadable(self.start[at:], flow, shown))
        if found == _TOO_LONG:
            raise SourceError(
                f"the first line of {shown}, its header, is longer than {_LONGEST:,} bytes: check that it is a text "
                "file with line ends"
            )
        row, advice = (
            (f"line {len(above) + 1}", "delete the lines above") if above else ("first line", "is it empty?")
        )
        raise SourceError.plain(f"{shown} has no header: its {row} must name the columns: {advice}")

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        return re.compile(b"(%b)(%b|\\Z)" % (self.dialect.any_record, LINE_END))

    def _read_at(self, at: int) -> Header | str:
        if at not in self._read:
            self._read[at] = self._read_first(at)
        return self._read[at]

    def _read_first(self, at: int) -> Header | str:
        rows, lines, longest, line_end = [], 0, 0, b""
        for _ in range(self.count):
            match = self._record.match(self.start, at)
            if match is None:
                return _UNREADABLE
            if len(match[0]) >= _LONGEST - len(BOM) and not match[2]:
                return _TOO_LONG
            fields = map(self.dialect.value, self.dialect.split(match[1]))
            rows.append([field.decode(errors="replace").strip() for field in fields])
            if match[0]:
                lines += count_lines(match[1]) + 1
            at, line_end, longest = match.end(), match[2] or line_end, max(longest, len(match[1]))
        return Header(joined(rows), line_end, at, lines, {}, longest) if any(rows[0]) else _NAMELESS


def _unreadable(start: bytes, flow: dict[str, Any], shown: str) -> str:
    first = re.split(rb"[\r\n]", start, maxsplit=1)[0].decode(errors="replace")
    if other_delimiter(flow, [first]) or version_for(flow, [first]):  # its quotes may well be valid
        name, place = next(iter(flow["sources"].items()))
        return column_trouble(flow, shown, name, place, [first], [])
    return (
        f"the header of {shown} can't be read: its quotes are broken, or the line never ends: correct it, or delete "
        "the lines above it"
    )


# -- records


def read_csv(reading: Reading) -> Relation:
    """Split the file; DuckDB's reader is strict, and has every option set. Raises `SourceError`."""
    flow, dialect = reading.flow, Dialect.of(reading.flow["csv"])
    names = readable(names_of(reading, dialect))
    visible = visible_columns(flow, names, reading.shown)
    copy, options = split_records(reading, dialect)
    columns = (f"{RESERVED}s{n}" for n in range(len(names)))
    marks = [one.decode() for one in (dialect.delim, dialect.quote, dialect.escape)]
    # An empty value is NULL in CSV, unless quoted ones are kept apart.
    nulls = ["allow_quoted_nulls=false"] if flow["csv"].get("keeps_empty") else []
    reader = f"SELECT * FROM {csv_reader(copy.path, columns, marks, *nulls, *options)}"
    return relation_of_table(reader, flow, names, visible)


def read_fixed(reading: Reading) -> Relation:
    """Split fixed-width lines in the same way as lines of CSV; DuckDB cuts them. Raises `SourceError`."""
    flow, grammar = reading.flow, FixedWidth.of(reading.flow["fixed"])
    names = readable(names_of(reading, grammar))
    visible = visible_columns(flow, names, reading.shown)
    copy, options = split_records(reading, grammar)
    values = ", ".join(
        f"nullif(trim(substr(_lume_text, {start + 1}, {end - start}), ' '), '') AS _lume_s{n}"
        for n, (start, end) in enumerate(grammar.spans)
    )
    lines = csv_reader(copy.path, ["_lume_text"], LINES, *options)
    # A blank line at the end is skipped like all others, but stays in the file for DuckDB.
    reader = f"SELECT {values} FROM {lines} WHERE _lume_text IS NOT NULL"
    return relation_of_table(reader, flow, names, visible)


def names_of(reading: Reading, dialect: Dialect | FixedWidth) -> list[str]:
    """Return the names in the header. Raises `SourceError`."""
    return _header(reading, dialect).names


def _header(reading: Reading, dialect: Dialect | FixedWidth) -> Header:
    return header_of(reading.path, dialect, reading.flow, reading.shown, is_beginning=reading.is_beginning)


def footer_of(path: Path, begin: int, dialect: Dialect | FixedWidth, flow: dict[str, Any]) -> Footer | None:
    """Find the footer of a file whose first record is at byte `begin`."""
    if flow["footer"] is None:
        return None
    with path.open("rb") as file:
        start = max(begin, file.seek(0, 2) - TAIL)
        file.seek(start)
        tail = file.read()
    whole = tail if start == begin else whole_lines(tail)
    return footer_in(whole, start + len(tail) - len(whole), dialect, flow)


def split_records(
    reading: Reading, dialect: Dialect | FixedWidth, into: TakesLines | None = None
) -> tuple[Copy, list[str]]:
    """Check every record, for DuckDB to read or `into` something that takes them. Raises `SourceError`.

    Returns the file for DuckDB, and the options to read it with.
    """
    path, flow, account = reading.path, reading.flow, reading.account
    header = _header(reading, dialect)
    footer = footer_of(path, header.end, dialect, flow) if reading.is_end else None
    names, line_end, end = header.names, header.line_end, header.end
    places, has_quotes = reading.malformed.places, isinstance(dialect, Dialect)
    places.path, places.csv, places.comment = str(path), flow["csv"] if has_quotes else None, flow["comment"]
    places.blank = "" if len(names) > 1 or dialect.skips_blank else None
    account.lines += header.lines
    account.skip(header.skipped)
    copy = Copy(path, reading.folder / "source", end, line_end or b"\n")
    if line_end == b"\r" or header.lines > 1 or _begins_with_a_value(reading, header):
        # From such a header DuckDB would guess a wrong line end, or miss the header's end.
        copy.begin(end)
    if isinstance(dialect, FixedWidth):
        counter: CountsRecords = EvenLines(dialect, line_end or b"\n")
    else:
        counter = Skeleton(dialect, len(names), line_end or b"\n")
    scanner = Scanner(
        path,
        end,
        dialect,
        len(names),
        LineForm.of(range(len(names)), flow) if into is None else into.form,
        counter,
        line_end or b"\n",
        flow["max_line_bytes"],
        account,
        reading.malformed,
        copy,
        reading.pause,
        into,
        comment=flow["comment"].encode(),
        stop=footer.begin if footer else None,
    )
    with closing(copy):
        scanner.scan()
    if footer:
        account.lines += footer.lines
        account.skip(footer.skipped)
        account.footer = footer.rows
    options = [
        f"header={str(bool(header.lines) and not copy.begun).lower()}",
        f"max_line_size={flow['max_line_bytes'] + header.longest + 16}",
    ]
    if copy.begun or line_end == b"\n":
        # DuckDB's spelling. Without the option it takes the first line end it finds, even within quotes.
        options.append("new_line='\\n'")
    # Has to be last (see `scan_or_retry`).
    options.append("parallel=false" if scanner.spans_lines else "parallel=true")
    return copy, options


def _begins_with_a_value(reading: Reading, header: Header) -> bool:
    """Return whether an apparent byte order mark belongs to the first value, where DuckDB would remove it."""
    if header.end or reading.is_beginning:
        return False
    with reading.path.open("rb") as file:
        return file.read(len(BOM)) == BOM
