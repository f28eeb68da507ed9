"""Prepares a CSV source for DuckDB: its header, its columns, every record well-formed."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import BOM
from lume_local._worker.sources.formats.names import layout_of_table, readable, visible_columns
from lume_local._worker.sources.formats.records.fixed_width import EvenLines, FixedWidth
from lume_local._worker.sources.formats.table_end import TAIL, Footer, footer_in, whole_lines
from lume_local._worker.sources.formats.text.csv_header import Header, header_of
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.formats.text.scan import Counter, Scanner, TakesLines
from lume_local._worker.sources.formats.text.skeleton import Skeleton
from lume_local._worker.sources.intake import Copy, Reading
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sql import csv_reader
from lume_local._worker.statements import Layout


@frozen
class Split:
    """A file whose records were checked."""

    names: list[str]
    copy: Copy
    options: list[str]


def read_csv(reading: Reading) -> Layout:
    """Split the file. Raises `SourceError`."""
    flow, dialect = reading.flow, Dialect.of(reading.flow["csv"])
    names = readable(names_of(reading, dialect))
    visible = visible_columns(flow, names, reading.shown)
    split = split_records(reading, dialect)
    return layout_of_table(_reader(split, dialect, flow), flow, names, visible)


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


def split_records(reading: Reading, dialect: Dialect | FixedWidth, into: TakesLines | None = None) -> Split:
    """Check every record, for DuckDB to read or `into` something that takes them. Raises `SourceError`."""
    path, flow, account = reading.path, reading.flow, reading.account
    header = _header(reading, dialect)
    footer = footer_of(path, header.end, dialect, flow) if reading.is_end else None
    names, line_end, end = header.names, header.line_end, header.end
    account.lines += header.lines
    account.skip(header.skipped)
    copy = Copy(path, reading.folder / "source", end, line_end or b"\n")
    if line_end == b"\r" or header.lines > 1 or _begins_with_a_value(reading, header):
        # From such a header DuckDB would guess a wrong line end, or miss the header's end.
        copy.begin(end)
    if isinstance(dialect, FixedWidth):
        counter: Counter = EvenLines(dialect, line_end or b"\n")
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
    options = [
        f"header={str(bool(header.lines) and not copy.begun).lower()}",
        f"max_line_size={flow['max_line_bytes'] + header.longest + 16}",
    ]
    if copy.begun or line_end == b"\n":
        # DuckDB's spelling. Without the option it takes the first line end it finds, even within quotes.
        options.append("new_line='\\n'")
    # Has to be last (see `scan_or_retry`).
    options.append("parallel=false" if scanner.spans_lines else "parallel=true")
    return Split(names, copy, options)


def _begins_with_a_value(reading: Reading, header: Header) -> bool:
    """Return whether an apparent byte order mark belongs to the first value, where DuckDB would remove it."""
    if header.end or reading.is_beginning:
        return False
    with reading.path.open("rb") as file:
        return file.read(len(BOM)) == BOM


def _reader(split: Split, dialect: Dialect, flow: dict[str, Any]) -> str:
    """Return DuckDB's reader, strict and with every option set."""
    names = (f"{RESERVED}s{n}" for n in range(len(split.names)))
    marks = (one.decode() for one in (dialect.delim, dialect.quote, dialect.escape))
    # An empty value is NULL in CSV, unless quoted ones are kept apart.
    nulls = ["allow_quoted_nulls=false"] if flow["csv"].get("keeps_empty") else []
    return f"SELECT * FROM {csv_reader(split.copy.path, names, [*marks], *nulls, *split.options)}"
