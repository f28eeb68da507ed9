"""A CSV source made ready for DuckDB: its header, its columns, every record well-formed."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import BOM, count_lines
from lume_local._worker.sources.formats.dialect import LINE_END, Dialect
from lume_local._worker.sources.formats.names import (
    column_trouble,
    other_delimiter,
    readable,
    unknown_columns,
    version_for,
    visible_columns,
)
from lume_local._worker.sources.formats.resent import RAW, Resent, Rewriter
from lume_local._worker.sources.formats.scan import Scanner
from lume_local._worker.sources.intake import Copy, Reading
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import literal, text
from lume_local._worker.statements import Layout

_LONGEST_HEADER = 1024 * 1024


@frozen
class Split:
    """A file whose records were looked at."""

    names: list[str]
    copy: Copy
    options: list[str]


def read_csv(reading: Reading) -> Layout:
    """Split the file. Raises `SourceError`."""
    flow, dialect = reading.flow, Dialect.of(reading.flow["csv"])
    names = readable(names_of(reading, dialect))
    visible = visible_columns(flow, names, reading.shown)
    resent = None
    if RAW in map(str.lower, names):
        lines = Dialect.of(flow.get("lines", flow["csv"]))
        resent = Resent(names, dialect, lines, of_a_sheet="of_a_sheet" in flow)
    split = split_records(reading, dialect, resent)
    reader = _reader(split, dialect, flow)
    return Layout(reader, tuple(names), visible, unknown=unknown_columns(names, visible))


def names_of(reading: Reading, dialect: Dialect) -> list[str]:
    """What the header names. Raises `SourceError`."""
    return _names(header_of(reading.path, dialect, reading.flow, reading.shown)[0], dialect, reading.shown)


def split_records(reading: Reading, dialect: Dialect, resent: Rewriter | None, copied: bool = False) -> Split:
    """Look at every record; with `copied` what is to be read has no header. Raises `SourceError`."""
    path, flow, account = reading.path, reading.flow, reading.account
    header, line_end, end = header_of(path, dialect, flow, reading.shown)
    names = _names(header, dialect, reading.shown)
    account.lines += count_lines(header) + 1
    copy = Copy(path, reading.folder / "source", end, line_end or b"\n")
    if copied or line_end == b"\r" or count_lines(header):
        # From such a line DuckDB would guess another line end, or not find the end of the header.
        copy.begin(end)
    scanner = Scanner(
        path,
        end,
        dialect,
        len(names),
        line_end or b"\n",
        flow["max_line_bytes"],
        account,
        reading.malformed,
        copy,
        reading.pause,
        resent,
    )
    with closing(copy):
        scanner.scan()
    options = [
        f"header={str(not copy.begun).lower()}",
        f"max_line_size={flow['max_line_bytes'] + len(header) + 16}",
    ]
    if copy.begun or line_end == b"\n":
        # As DuckDB spells it. Else it takes the first one that it finds, be it within quotes.
        options.append("new_line='\\n'")
    # The last (see `scan_or_retry`).
    options.append("parallel=false" if scanner.spans_lines else "parallel=true")
    return Split(names, copy, options)


def _reader(split: Split, dialect: Dialect, flow: dict[str, Any]) -> str:
    """DuckDB's reader, strict and with every option set."""
    named = ", ".join(f"'{RESERVED}s{n}': 'VARCHAR'" for n in range(len(split.names)))
    # An empty value is NULL in CSV; in rejects of a source that has both, a quoted one is an empty string.
    options = [*split.options, *(["allow_quoted_nulls=false"] if "of_values" in flow else [])]
    return (
        f"SELECT * FROM read_csv({literal(split.copy.path)}, auto_detect=false, compression='none', "
        f"columns={{{named}}}, "
        f"delim={text(dialect.delim.decode())}, quote={text(dialect.quote.decode())}, "
        f"escape={text(dialect.escape.decode())}, nullstr='', strict_mode=true, {', '.join(options)})"
    )


def header_of(path: Path, dialect: Dialect, flow: dict[str, Any], shown: str) -> tuple[bytes, bytes, int]:
    """The first record, its line end (empty if the file ends with it), and its end in the file."""
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
        start += file.read(1) if start.endswith(b"\r") else b""
    at = len(BOM) if start.startswith(BOM) else 0
    match = re.compile(b"(%b)(%b|\\Z)" % (dialect.any_record, LINE_END)).match(start, at)
    if match is None:
        first = re.split(rb"[\r\n]", start[at:], maxsplit=1)[0].decode(errors="replace")
        if other_delimiter(flow, [first]) or version_for(
            flow, [first]
        ):  # then its quotes may well be in order
            name, place = next(iter(flow["sources"].items()))
            raise SourceError(column_trouble(flow, shown, name, place, [first], 0))
        raise SourceError(
            f"the header of {shown} can't be read: its quotes are broken, or the line never ends: correct it, or "
            "delete the lines above it"
        )
    if len(match[0]) >= _LONGEST_HEADER - len(BOM) and not match[2]:
        raise SourceError(
            f"the first line of {shown}, its header, is longer than {_LONGEST_HEADER:,} bytes: check that it is a "
            "text file with line ends"
        )
    if not match[1].strip():
        raise SourceError(
            f"{shown} has no header: its first line must name the columns: delete the lines above"
        )
    return match[1], match[2], match.end()


def _names(header: bytes, dialect: Dialect, shown: str) -> list[str]:
    fields = (dialect.value(field) for field in dialect.split(header))
    names = [field.decode(errors="replace").strip() for field in fields]
    if not any(names):
        raise SourceError(
            f"{shown} has no header: its first line must name the columns: delete the lines above"
        )
    return names
