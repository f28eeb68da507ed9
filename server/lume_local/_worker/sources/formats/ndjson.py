"""Prepares an NDJSON source for DuckDB: every line is a strict JSON object whose numbers DuckDB reads exactly.

DuckDB's own reader accepts `NaN`, trailing commas and repeated keys, and converts every number with a fraction to a
double. It is used to find such lines; Python's parser then reads these and converts them for DuckDB: a number that a
double can't hold becomes a string with the same value.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import heapq
import json
import re
import sys
from array import array
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_async._base.controls import control_in
from lume_local._flow.definition import RESERVED
from lume_local._flow.source_settings import pointers
from lume_local._worker.sources.files import BOM, LONGEST_LINE, blocks_of_lines, is_utf8
from lume_local._worker.sources.formats.names import check_members, spellings
from lume_local._worker.sources.formats.text.dialect import APART
from lume_local._worker.sources.intake import NOT_JSON, Copy, Reading
from lume_local._worker.sources.mending.lost_letters import (
    INVALID,
    KEPT,
    STILL_LOST,
    LostLetters,
    as_counted,
    identity_of,
)
from lume_local._worker.sources.source import Pause
from lume_local._worker.sql import LINES, OURS, STAGED, copy_to, csv_reader, row_of, scan_or_retry, text
from lume_local._worker.statements import Relation

_EXACT = re.compile(r"-?(?!0\.0000)(?:(?:0|[1-9][0-9]{0,2})\.[0-9]{1,11}|[1-9][0-9]{3,8}\.[0-9]{1,5})")
"""Fractions that a double preserves, having at most 15 digits. Whole numbers are always preserved."""
FILLED_IN = " (clear _lume_raw to use the columns that are filled in)"
OWN = f"{RESERVED}raw".encode()
"""The key in a line that holds a malformed text."""
_SPACE = re.compile(r"[ \t]*")
_LONGEST_INTEGER = 4000
"""Digits. Python refuses to convert much longer strings to numbers."""


class NotARow(ValueError):
    """A line that is not a row: the reason, and its bytes."""

    def __init__(self, why: str, raw: bytes) -> None:
        super().__init__(why)
        self.why, self.raw = why, raw


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these members, as a parser's hook. Raises `NotARow`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotARow("repeats a key", b"")
    return found


class _Reader:
    """Python's parser without its liberties; `changed` is set if a number became a string."""

    def __init__(self) -> None:
        self.changed = False
        self.decoder = json.JSONDecoder(
            object_pairs_hook=without_repeats,
            parse_float=self._fraction,
            parse_int=self._whole,
            parse_constant=self._constant,
        )

    def _whole(self, digits: str) -> Any:
        if len(digits) < _LONGEST_INTEGER:
            return int(digits)
        self.changed = True
        return digits

    def _fraction(self, digits: str) -> Any:
        is_shortest = "e" not in digits.lower() and repr(float(digits)) == digits  # DuckDB writes the same
        if is_shortest or _EXACT.fullmatch(digits):
            return float(digits)
        self.changed = True
        number = Decimal(digits)
        if "e" not in digits.lower() or abs(number.adjusted()) > 400:
            return digits
        plain = format(number, "f")
        return plain if "." in plain else f"{plain}.0"

    def _constant(self, name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")


def strict_line(line: str, lost: LostLetters | None = None) -> bytes:
    """Return the line for DuckDB, followed by `APART` and the original if they differ. Raises `NotARow`.

    Args:
        lost: which rows of resubmitted rejects lack letters.
    """
    reader = _Reader()
    try:
        value = reader.decoder.decode(line)
        if not isinstance(value, dict):
            raise NotARow(NOT_JSON, b"")
        if any(key.startswith(RESERVED) for key in value):
            return _unwrapped(line, value, lost or LostLetters())
        exact = json.dumps(value, ensure_ascii=False).encode()
        return exact + APART + line.encode() if reader.changed else line.encode()
    except NotARow as error:
        raise NotARow(error.why, error.raw or line.encode()) from None
    except (ValueError, RecursionError, ArithmeticError):  # UnicodeEncodeError: half of a surrogate pair
        raise NotARow(NOT_JSON, line.encode()) from None


def _unwrapped(line: str, value: dict[str, Any], lost: LostLetters) -> bytes:
    """Return the malformed text in a line of a resubmitted rejects file, or the object without Lume's own keys."""
    raw = value.get(f"{RESERVED}raw")
    is_raw = isinstance(raw, str) and bool(raw)
    members = _without_own_keys(line)
    inner = str(raw) if is_raw else members
    reasons = str(value.get(f"{RESERVED}reasons"))
    if lost.are_left(as_counted(identity_of(value)), reasons, {inner, members}):
        raise NotARow(STILL_LOST, inner.encode())
    # In a corrected object, line ends can only be between its parts.
    one_line = inner.replace("\r", " ").replace("\n", " ")
    try:
        read = strict_line(one_line)
    except NotARow as error:
        is_filled_in = is_raw and any(one for key, one in value.items() if not key.startswith(RESERVED))
        raise NotARow(error.why + (FILLED_IN if is_filled_in else ""), inner.encode()) from None
    return read if APART in read else read + APART + one_line.encode()


def _without_own_keys(line: str) -> str:
    """Return the object's members as they are written, without Lume's own keys."""
    decoder, members = json.JSONDecoder(), []
    at = _after_space(line, line.index("{") + 1)
    while line[at] != "}":
        key, end = decoder.raw_decode(line, at)
        _, end = decoder.raw_decode(line, _after_space(line, _after_space(line, end) + 1))
        if not key.startswith(RESERVED):
            members.append(line[at:end])
        end = _after_space(line, end)
        at = _after_space(line, end + 1) if line[end] == "," else end
    return "{" + ", ".join(members) + "}"


def _after_space(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    assert match is not None
    return match.end()


_KEYS_ONLY = json.JSONDecoder(object_pairs_hook=without_repeats, parse_float=len, parse_int=len)


def repeats_a_key(line: str) -> bool:
    """Return whether an object of the line, even a nested one, repeats a key; True if that can't be determined."""
    try:
        _KEYS_ONLY.decode(line)
    except (ValueError, RecursionError):
        return True
    return False


def raw_in(line: bytes) -> bytes:
    """Return the malformed text in a line of a rejects file, or its columns, with the original bytes."""
    try:
        value = json.loads(line.decode("utf-8", KEPT))
    except (ValueError, RecursionError):
        return line
    raw = value.get(f"{RESERVED}raw") if isinstance(value, dict) else None
    if not isinstance(raw, str):
        return line
    columns = {key: one for key, one in value.items() if not key.startswith(RESERVED)}
    return (raw or json.dumps(columns, ensure_ascii=False)).encode("utf-8", KEPT)


_DOUBTFUL = (
    r"[:\[,]\s*-?([0-9]+(\.[0-9]+)?[eE]|[0-9]{4,}\.[0-9]{6}|[0-9]+\.[0-9]{12}|[0-9]{10,}\.|0\.0000|(?i:nan|inf))"
    r'|,\s*[}\]]|"_lume_'
)
"""Text that DuckDB might misread: exponents, many digits, NaN and the like, trailing commas."""


def read_ndjson(reading: Reading) -> Relation:
    """Judge every line of the file. Raises `SourceError`."""
    flow, folder, refused = reading.flow, reading.folder, reading.malformed.total
    limit = flow["max_line_bytes"]
    plain = _plain_lines(reading, folder / "lines", limit)
    scan = _reader(plain, ["_lume_line_text"], limit)
    names, first = tuple(flow["sources"]), _first_object(plain)
    doubtful = _doubtful(reading, plain, scan, first)
    spelled = [spellings(flow, name) for name in names]
    wanted = list(dict.fromkeys(pointer for each in spelled for one in each for pointer in pointers(one)))
    fields = ""
    for n, each in enumerate(spelled):
        # The value of the first of these members that an object has.
        values = [f"_lume_fields[{wanted.index(one) + 1}]" for name in each for one in pointers(name)]
        first_of = values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"
        fields += f", {first_of} AS _lume_s{n}"
    original = "_lume_line_text"
    if doubtful:
        strict = folder / "source"
        longest = _strict_lines(plain, strict, doubtful, reading)
        scan = _reader(strict, ["_lume_line_text", "_lume_as_it_was"], max(limit, longest))
        original = "coalesce(_lume_as_it_was, _lume_line_text) AS _lume_line_text"
    places, rows = reading.malformed.places, reading.account.records - reading.malformed.total + refused
    places.path, places.blank = str(reading.path), " \t"
    places.csv, places.comment = None, ""  # no longer those of corrected rejects in CSV, made objects
    places.mark(0, 1, 0)
    places.mark(rows, reading.account.lines + 1, sys.maxsize, is_last=True)
    members = _members(reading, scan, first, spelled)
    listed = ", ".join(map(text, wanted))
    read = f"json_extract_string(_lume_line_text, [{listed}])" if names else "NULL"
    parsed = f"SELECT *, {read} AS _lume_fields FROM ({scan}) WHERE NOT {_IS_BLANK}"
    # An object is read if any of its members is.
    known = {one for each in spelled for name in each for one in (name, name.partition(".")[0])}
    unread = tuple(key for key in members if key not in known and not key.lower().startswith(RESERVED))
    relation = Relation(
        f"SELECT {original}{fields} FROM ({parsed})",
        names,
        {name: n for n, name in enumerate(names)},
        json_lines=True,
        unknown=() if flow["on_unknown_columns"] == "ignore" else unread,
        members=members,
        aliases={
            name: [one for one in each if one in members]
            for name, each in zip(names, spelled, strict=True)
            if name.lower() in flow["aliases"]
        },
    )
    check_members(flow, relation, reading.shown)
    return relation


_IS_BLANK = r"(_lume_line_text IS NULL OR regexp_full_match(_lume_line_text, '[ \t]*'))"


def _members(reading: Reading, scan: str, first: dict[str, Any], spelled: list[list[str]]) -> tuple[str, ...]:
    """Return the members of all objects, and the `spelled` names by which an object has a member within another.

    If the `first` object has all that the flow reads, and others don't matter, these names are enough.
    """
    flow = reading.flow
    if first and flow["on_unknown_columns"] == "ignore" and not flow["aliases"]:
        for name in flow["sources"]:
            inner: Any = first
            for step in name.split("."):
                inner = inner.get(step) if isinstance(inner, dict) else None
            if name not in first and inner is None:
                break
        else:
            return tuple(flow["sources"])
    each = "json_keys(_lume_line_text)"
    if nested := [one for names in spelled for one in names if len(pointers(one)) > 1]:
        # One call for all: each call keeps what it has parsed until the end of its 2,048 rows.
        there = f"json_exists(_lume_line_text, [{', '.join(text(pointers(name)[1]) for name in nested)}])"
        each = f"list_concat({each}, list_where([{', '.join(map(text, nested))}], {there}))"

    def found_by(reader: str) -> list[tuple[str]]:
        keys = f"SELECT unnest(CASE WHEN json_valid(_lume_line_text) THEN {each} END) AS k FROM ({reader})"
        query = f"SELECT k FROM ({keys}) WHERE k IS NOT NULL GROUP BY k ORDER BY k"
        return reading.connection.execute(query).fetchall()

    return tuple(key for (key,) in scan_or_retry(scan, found_by))


def _reader(path: Path, columns: list[str], limit: int) -> str:
    options = *OURS, f"max_line_size={limit + 16}", "parallel=true"
    return f"SELECT * FROM {csv_reader(path, columns, LINES, *options)}"


def _plain_lines(reading: Reading, target: Path, limit: int) -> Path:
    r"""Return the file with `\n` line ends, in UTF-8: itself, or a copy with refused and overlong lines blanked."""
    copy, account = Copy(reading.path, target, 0, b"\n"), reading.account
    at, half = 0, max(limit // 2, 1)
    with closing(copy):
        for block in blocks_of_lines(reading.path, reading.pause):
            data = block
            if at == 0 and reading.is_beginning and block.startswith(BOM):
                data = data.removeprefix(BOM)
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            another = at == 0 and data.startswith(BOM)  # DuckDB would remove it, too
            # A line that is too long covers at least one of these windows.
            windows = range(0, len(data) - half, half)
            may_be_long = any(data.find(b"\n", begin, begin + half) < 0 for begin in windows)
            if another or may_be_long or APART in data or not is_utf8(data):
                lines = data.split(b"\n")
                for n, line in enumerate(lines):
                    if not is_utf8(line):
                        why = INVALID
                    elif len(line) > limit:
                        why = f"longer than {limit:,} bytes"
                    elif APART in line or line.startswith(BOM):
                        why = NOT_JSON
                    else:
                        continue
                    reading.malformed.add(account.lines + 1 + n, why, raw_in(line) if OWN in line else line)
                    account.records += 1
                    lines[n] = b""
                data = b"\n".join(lines)
            if data is not block and data != block:
                copy.begin(at)
            copy.keep(data)
            account.lines += data.count(b"\n") + (not data.endswith(b"\n"))
            at += len(block)
    return copy.path


def _first_object(path: Path) -> dict[str, Any]:
    """Return the first line if it is an object. Most lines share its keys, and comparing is cheaper than parsing."""
    with path.open("rb") as file:
        try:
            first = json.loads(file.readline(LONGEST_LINE))
            json.dumps(first, ensure_ascii=False).encode()  # DuckDB refuses half of a surrogate pair
        except (ValueError, RecursionError):
            return {}
    return first if isinstance(first, dict) else {}


_FINE, _DOUBTED, _NESTED = 0, 1, 2
"""DuckDB's verdict on a line: Python need not read it, has to judge it, or searches nested objects for repeats."""


def _doubtful(reading: Reading, plain: Path, scan: str, first: dict[str, Any]) -> Iterator[int] | None:
    """Count the records; return the numbers, from 0, of the lines for Python to judge, None if there are none."""
    # If the first line isn't an object, there is no shape to compare.
    shape, line, account = Shape.of(first) if first else None, "_lume_line_text", reading.account
    judged = (
        f"CASE WHEN {_IS_BLANK} THEN {_FINE} "
        f"WHEN regexp_matches({line}, {text(_DOUBTFUL)}) THEN {_DOUBTED} "
        f"WHEN {shape.matched_by(line) if shape else 'false'} THEN {_FINE} "
        f"WHEN NOT json_valid({line}) OR json_type({line}) <> 'OBJECT' THEN {_DOUBTED} "
        f"WHEN list_unique(json_keys({line})) <> len(json_keys({line})) THEN {_DOUBTED} "
        f"WHEN {braces_in(line)} > 1 THEN {_NESTED} ELSE {_FINE} END"
    )
    each, found = (
        f"SELECT {_IS_BLANK} AS blank, ({judged})::TINYINT AS judged",
        reading.folder / "judged.parquet",
    )
    scan_or_retry(
        scan,
        lambda reader: copy_to(reading.connection, f"{each} FROM ({reader})", found, STAGED),
        lambda rows: rows == account.lines,
    )
    lines = f"read_parquet({text(str(found))}, file_row_number=true)"
    counts = [
        f"count(*) FILTER ({what})" for what in ("NOT blank", f"judged = {_DOUBTED}", f"judged = {_NESTED}")
    ]
    records, doubted, nested = row_of(reading.connection, f"SELECT {', '.join(counts)} FROM {lines}")
    account.records += records
    numbers = f"SELECT file_row_number FROM {lines} WHERE judged = {{}} ORDER BY 1"
    repeating = array("q")
    if nested:
        found_in = _lines_of(plain, _numbers(reading.connection, numbers.format(_NESTED)), reading.pause)
        repeating.extend(n for n, one in found_in if repeats_a_key(one.decode()))
    if not doubted and not repeating:
        return None
    return heapq.merge(_numbers(reading.connection, numbers.format(_DOUBTED)), repeating)


def _numbers(connection: DuckDBPyConnection, query: str) -> Iterator[int]:
    found = connection.execute(query)
    while rows := found.fetchmany(10_000):
        yield from (number for (number,) in rows)


def _lines_of(path: Path, numbers: Iterator[int], pause: Pause) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with these numbers, which are sorted."""
    number, wanted = 0, next(numbers, None)
    for block in blocks_of_lines(path, pause):
        if wanted is None:
            return
        lines = block.removesuffix(b"\n").split(b"\n")
        while wanted is not None and wanted < number + len(lines):
            yield wanted, lines[wanted - number]
            wanted = next(numbers, None)
        number += len(lines)


def _strict_lines(path: Path, target: Path, doubtful: Iterator[int], reading: Reading) -> int:
    """Copy a file for exact reading: convert doubtful lines, each beside its original, and blank refused ones.

    Returns the size of the longest converted line, with both forms.
    """
    number, longest, wanted = 0, 0, next(doubtful, None)
    with target.open("wb") as out:
        for block in blocks_of_lines(path, reading.pause):
            lines = block.removesuffix(b"\n").split(b"\n")
            while wanted is not None and wanted < number + len(lines):
                line = lines[wanted - number]
                try:
                    lines[wanted - number] = strict_line(line.decode(), reading.origin.lost)
                    longest = max(longest, len(lines[wanted - number]))
                except NotARow as error:
                    reading.malformed.add(wanted + 1, error.why, error.raw)
                    lines[wanted - number] = b""
                wanted = next(doubtful, None)
            number += len(lines)
            out.write(b"".join(line + (b"\n" if APART in line else APART + b"\n") for line in lines))
    return longest


_MOST = 40
"""Objects in a shape. Comparing more takes longer than parsing the line."""


@frozen
class Shape:
    """The keys of each object of a line.

    Attributes:
        single: keys by the JSON path of an object that each line has once.
        listed: keys by the JSON path of the objects of an array.
    """

    single: dict[str, list[str]]
    listed: dict[str, list[str]]

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Shape | None":
        """Return the shape of an object; None if it is large, or the objects of an array differ."""
        found: dict[str, list[str]] = {}
        left: list[tuple[str, Any]] = [("$", value)]
        while left:
            path, one = left.pop()
            if isinstance(one, list):
                left += ((f"{path}[*]", item) for item in one if isinstance(item, dict | list))
            elif isinstance(one, dict):
                keys = list(one)
                if found.setdefault(path, keys) != keys or len(found) > _MOST:
                    return None
                # Such a key can't be written unchanged into a JSON path, or has a special meaning there.
                if any(not key or any(one in key for one in '"\\*') or control_in(key) for key in keys):
                    return None
                left += ((f'{path}."{key}"', item) for key, item in one.items())
        listed = {path: keys for path, keys in found.items() if "[*]" in path}
        if not all(listed.values()):
            return None  # an array has no keys either
        return cls({path: keys for path, keys in found.items() if path not in listed}, listed)

    def matched_by(self, line: str) -> str:
        """Return SQL for whether a line has this shape and no other object; NULL if that can't be determined."""
        paths, keys = _texts(list(self.single)), ", ".join(map(_texts, self.single.values()))
        conditions, objects = [f"TRY(json_keys({line}, {paths})) = [{keys}]"], [str(len(self.single))]
        if empty := [path for path, each in self.single.items() if not each]:
            kinds = _texts(["OBJECT"] * len(empty))
            conditions.append(f"TRY(json_type({line}, {_texts(empty)})) = {kinds}")
        for path, each in self.listed.items():
            found = f"TRY(json_keys({line}, {text(path)}))"
            conditions.append(f"list_distinct({found}) = [{_texts(each)}]")
            objects.append(f"len({found})")
        return f"({' AND '.join(conditions)} AND {braces_in(line)} = {' + '.join(objects)})"


def braces_in(line: str) -> str:
    """Return SQL for the maximum number of objects in a line, as braces in strings count, too."""
    return f"(length({line}) - length(replace({line}, '{{', '')))"


def _texts(values: list[str]) -> str:
    return f"[{', '.join(map(text, values))}]"
