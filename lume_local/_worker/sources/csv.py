"""A CSV source made ready for DuckDB: its header, its columns, every record well-formed."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from pathlib import Path
from typing import Any

from lume_local._flow.definition import RESERVED
from lume_local._worker.checks import text
from lume_local._worker.file_names import literal
from lume_local._worker.sources.dialect import LINE_END, Dialect
from lume_local._worker.sources.files import BOM, count_lines
from lume_local._worker.sources.intake import Copy
from lume_local._worker.sources.names import column_trouble, other_delimiter, unknown_columns, visible_columns
from lume_local._worker.sources.reading import Reading
from lume_local._worker.sources.resent import RAW, Resent
from lume_local._worker.sources.scan import Scanner
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout

_LONGEST_HEADER = 1024 * 1024


def read_csv(reading: Reading) -> Layout:
    """Split the file. Raises `SourceError`."""
    path, flow, shown, account = reading.path, reading.flow, reading.shown, reading.account
    dialect = Dialect.of(flow["csv"])
    header, line_end, end = header_of(path, dialect, flow, shown)
    account.lines += count_lines(header) + 1
    names = _names(header, dialect, shown)
    visible = visible_columns(flow, names, shown)
    copy = Copy(path, reading.folder / "source", end, line_end or b"\n")
    if line_end == b"\r" or count_lines(header):
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
        Resent(names, dialect, of_a_sheet="of_a_sheet" in flow) if RAW in map(str.lower, names) else None,
    )
    scanner.scan()
    copy.close()
    options = [
        f"header={str(not copy.begun).lower()}",
        f"max_line_size={flow['max_line_bytes'] + len(header) + 16}",
    ]
    if copy.begun or line_end == b"\n":
        # As DuckDB spells it. Else it takes the first one that it finds, be it within quotes.
        options.append("new_line='\\n'")
    options.append(
        "parallel=false" if scanner.spans_lines else "parallel=true"
    )  # the last (see `scan_again`)
    reader = _reader(copy.path, dialect, len(names), options)
    return Layout(reader, tuple(names), visible, unknown=unknown_columns(names, visible))


def _reader(path: Path, dialect: Dialect, columns: int, options: list[str]) -> str:
    """DuckDB's reader, strict and told everything."""
    named = ", ".join(f"'{RESERVED}s{n}': 'VARCHAR'" for n in range(columns))
    return (
        f"SELECT * FROM read_csv({literal(path)}, auto_detect=false, compression='none', columns={{{named}}}, "
        f"delim={text(dialect.delim.decode())}, quote={text(dialect.quote.decode())}, "
        f"escape={text(dialect.escape.decode())}, nullstr='', strict_mode=true, {', '.join(options)})"
    )


def header_of(path: Path, dialect: Dialect, flow: dict[str, Any], shown: str) -> tuple[bytes, bytes, int]:
    """The first record, its line end (empty where the file ends with it), and where in the file that is."""
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
        start += file.read(1) if start.endswith(b"\r") else b""
    at = len(BOM) if start.startswith(BOM) else 0
    match = re.compile(b"(%b)(%b|\\Z)" % (dialect.any_record, LINE_END)).match(start, at)
    if match is None:
        first = re.split(rb"[\r\n]", start[at:], maxsplit=1)[0].decode(errors="replace")
        if other_delimiter(flow, [first]):  # then its quotes may well be in order
            name, place = next(iter(flow["sources"].items()))
            raise SourceError(column_trouble(flow, shown, name, place, [first], 0))
        raise SourceError(
            f"the header of {shown} can't be read: its quotes are broken, or its line is endless"
        )
    if not match[1].strip():
        raise SourceError(f"{shown} has no header: its first line must name the columns")
    return match[1], match[2], match.end()


def _names(header: bytes, dialect: Dialect, shown: str) -> list[str]:
    fields = (dialect.value(field) for field in dialect.split(header))
    names = [field.decode(errors="replace").strip() for field in fields]
    if not any(names):
        raise SourceError(f"{shown} has no header: its first line must name the columns")
    return names
