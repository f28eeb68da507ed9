"""An NDJSON source made ready for DuckDB: every line one strict JSON object whose numbers it reads exactly.

DuckDB's own reader takes `NaN`, trailing commas and repeated keys, and sends every number with a fraction through
a double. It is used to find the lines that hold such things; those are read here, by Python's parser, and given
to it in another form: a number that a double can't hold becomes a text of the same value.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import json
from collections.abc import Iterator
from pathlib import Path

from duckdb import DuckDBPyConnection

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.files import BOM, LONGEST_LINE, blocks, is_utf8
from lume_local._worker.sources.formats.strict_json import NotARow, raw_in, strict_line
from lume_local._worker.sources.intake import APART, NOT_JSON, Account, Copy, Malformed, Reading
from lume_local._worker.sources.source import Pause, SourceError
from lume_local._worker.sql import STAGED, copy_to, literal, row_of, scan_or_retry, text
from lume_local._worker.statements import Layout

_DOUBTFUL = (
    r"[:\[,]\s*-?([0-9]+(\.[0-9]+)?[eE]|[0-9]{4,}\.[0-9]{6}|[0-9]+\.[0-9]{12}|[0-9]{10,}\.|0\.0000|(?i:nan|inf))"
    r'|,\s*[}\]]|"_lume_'
)
"""What DuckDB might read otherwise than it is written: exponents, many digits, NaN and the like, trailing commas."""


def read_ndjson(reading: Reading) -> Layout:
    """Judge every line of the file. Raises `SourceError`."""
    connection, flow, folder = reading.connection, reading.flow, reading.folder
    limit = flow["max_line_bytes"]
    plain = _plain_lines(reading, folder / "lines", limit)
    scan = _reader(plain, ["_lume_line_text"], limit)
    names, usual = tuple(flow["sources"]), _first_keys(plain)
    doubtful = _doubtful(connection, scan, usual, folder / "doubtful.parquet", reading.account)
    pointers = ", ".join(text("/" + name.replace("~", "~0").replace("/", "~1")) for name in names)
    fields = "".join(f", _lume_fields[{n + 1}] AS _lume_s{n}" for n in range(len(names)))
    original = "_lume_line_text"
    if doubtful:
        strict = folder / "source"
        longest = _strict_lines(plain, strict, _numbers(connection, doubtful), reading)
        scan = _reader(strict, ["_lume_line_text", "_lume_as_it_was"], max(limit, longest))
        original = "coalesce(_lume_as_it_was, _lume_line_text) AS _lume_line_text"
    is_enough = flow["on_unknown_columns"] == "ignore" and usual and set(names) <= set(usual)
    members = names if is_enough else scan_or_retry(scan, lambda reader: _members(connection, reader))
    read = f"json_extract_string(_lume_line_text, [{pointers}])" if names else "NULL"
    parsed = f"SELECT *, {read} AS _lume_fields FROM ({scan}) WHERE NOT {_IS_BLANK}"
    return Layout(
        f"SELECT {original}{fields} FROM ({parsed})",
        names,
        {name: n for n, name in enumerate(names)},
        json_lines=True,
        unknown=() if flow["on_unknown_columns"] == "ignore" else _unread(members, names),
        members=members,
    )


_IS_BLANK = r"(_lume_line_text IS NULL OR regexp_full_match(_lume_line_text, '[ \t]*'))"


def _members(connection: DuckDBPyConnection, scan: str) -> tuple[str, ...]:
    each = "CASE WHEN json_valid(_lume_line_text) THEN json_keys(_lume_line_text) END"
    keys = f"SELECT unnest({each}) AS k FROM ({scan})"
    found = connection.execute(f"SELECT k FROM ({keys}) GROUP BY k ORDER BY k").fetchall()
    return tuple(key for (key,) in found)


def _unread(members: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in members if key not in names and not key.lower().startswith(RESERVED))


def _reader(path: Path, columns: list[str], limit: int) -> str:
    listed = ", ".join(f"'{name}': 'VARCHAR'" for name in columns)
    return (
        f"SELECT * FROM read_csv({literal(path)}, auto_detect=false, compression='none', header=false, "
        f"columns={{{listed}}}, "
        f"delim='{APART.decode()}', quote='', escape='', new_line='\\n', strict_mode=true, "
        f"max_line_size={limit + 16}, parallel=true)"
    )


def _plain_lines(reading: Reading, target: Path, limit: int) -> Path:
    r"""The file with `\n` line ends, in UTF-8, none too long: itself or a copy, with blanks for what is refused."""
    copy, account = Copy(reading.path, target, 0, b"\n"), reading.account
    at = 0
    for block in _whole_lines(reading.path, reading.pause):
        data = block
        if at == 0 and reading.is_beginning and block.startswith(BOM):
            data = data.removeprefix(BOM)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        another = at == 0 and data.startswith(BOM)  # DuckDB would remove it, too
        if another or APART in data or not is_utf8(data) or _holds_longer(data, limit):
            data = _refused_are_blank(data, limit, account, reading.malformed)
        if data is not block and data != block:
            copy.begin(at)
        copy.keep(data)
        account.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        at += len(block)
    copy.close()
    return copy.path


def _whole_lines(path: Path, pause: Pause) -> Iterator[bytes]:
    """The file in pieces that end where a line ends."""
    held = b""
    for block in blocks(path, pause):
        data = held + block
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        held = data[end:]
        if end:
            yield data[:end]
        elif len(held) > LONGEST_LINE:
            raise SourceError(f"a line is longer than {LONGEST_LINE:,} bytes: is the file NDJSON?")
    if held:
        yield held


def _holds_longer(data: bytes, limit: int) -> bool:
    """Whether a line may be longer. A longer one covers at least one of these windows as a whole."""
    half = max(limit // 2, 1)
    return any(data.find(b"\n", at, at + half) < 0 for at in range(0, len(data) - half, half))


def _refused_are_blank(data: bytes, limit: int, account: Account, malformed: Malformed) -> bytes:
    lines = data.split(b"\n")
    for n, line in enumerate(lines):
        if not is_utf8(line):
            why = "not valid UTF-8"
        elif len(line) > limit:
            why = f"longer than {limit:,} bytes"
        elif APART in line or line.startswith(BOM):
            why = NOT_JSON
        else:
            continue
        malformed.add(account.lines + 1 + n, why, raw_in(line) or line)
        account.records += 1
        lines[n] = b""
    return b"\n".join(lines)


def _first_keys(path: Path) -> list[str]:
    """The keys of the first line, if it is an object with some. Most lines have the same: comparing is cheaper."""
    with path.open("rb") as file:
        try:
            first = json.loads(file.readline(LONGEST_LINE))
            "".join(first).encode()  # DuckDB refuses half of a surrogate pair
        except (ValueError, TypeError, RecursionError):
            return []
    return list(first) if isinstance(first, dict) else []


def _doubtful(
    connection: DuckDBPyConnection, scan: str, usual: list[str], found: Path, account: Account
) -> str | None:
    """A query for the numbers of the lines, from 0 on, that Python is to judge, if any. Counts the records."""
    # What is not an object has no keys either: without usual ones there is nothing to compare.
    as_usual = f"TRY(json_keys(_lume_line_text)) = [{', '.join(map(text, usual))}]" if usual else "false"
    judged = (
        f"CASE WHEN regexp_matches(_lume_line_text, {text(_DOUBTFUL)}) THEN true "
        f"WHEN {as_usual} THEN false "
        "WHEN NOT json_valid(_lume_line_text) THEN true "
        "WHEN json_type(_lume_line_text) <> 'OBJECT' THEN true "
        "ELSE list_unique(json_keys(_lume_line_text)) <> len(json_keys(_lume_line_text)) END"
    )
    each = f"SELECT {_IS_BLANK} AS blank, CASE WHEN {_IS_BLANK} THEN false ELSE {judged} END AS doubtful"
    scan_or_retry(
        scan,
        lambda reader: copy_to(connection, f"{each} FROM ({reader})", found, STAGED),
        lambda rows: rows == account.lines,
    )
    lines = f"read_parquet({text(str(found))}, file_row_number=true)"
    query = f"SELECT count(*) FILTER (NOT blank), count(*) FILTER (doubtful) FROM {lines}"
    records, doubtful = row_of(connection, query)
    account.records += records
    return f"SELECT file_row_number FROM {lines} WHERE doubtful ORDER BY 1" if doubtful else None


def _numbers(connection: DuckDBPyConnection, query: str) -> Iterator[int]:
    found = connection.execute(query)
    while rows := found.fetchmany(10_000):
        yield from (number for (number,) in rows)


def _strict_lines(path: Path, target: Path, doubtful: Iterator[int], reading: Reading) -> int:
    """A copy: doubtful lines as DuckDB reads them exactly, each beside what it was; blanks for refused ones.

    Returns the bytes of the longest changed one, which holds both forms.
    """
    number, longest, wanted = 0, 0, next(doubtful, None)
    with target.open("wb") as out:
        for block in _whole_lines(path, reading.pause):
            lines = block.removesuffix(b"\n").split(b"\n")
            while wanted is not None and wanted < number + len(lines):
                line = lines[wanted - number]
                try:
                    lines[wanted - number] = strict_line(line.decode())
                    longest = max(longest, len(lines[wanted - number]))
                except NotARow as error:
                    reading.malformed.add(wanted + 1, error.why, error.raw)
                    lines[wanted - number] = b""
                wanted = next(doubtful, None)
            number += len(lines)
            out.write(b"".join(line + (b"\n" if APART in line else APART + b"\n") for line in lines))
    return longest
