"""Reads a Parquet source: its values as text, the form in which a flow's expressions see every source.

Lists, structs and maps are JSON. DuckDB writes `NaN` and `Infinity` into it, which nothing can read, and a FLOAT with
the digits of the nearest DOUBLE. Here they look as in a column of their own: the strings `"nan"` and `"inf"`, and the
FLOAT's own digits.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import duckdb
from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_local._flow.definition import quoted
from lume_local._worker.sources.formats.names import relation_of_table, visible_columns
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.places.held import named
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import literal, row_of, text
from lume_local._worker.statements import Relation

_UNSUPPORTED = re.compile(
    r"not (?:yet )?(?:supported|implemented)|only supported|unsupported|requires|out of range", re.I
)
"""DuckDB's words for an unsupported feature of a file; other errors mean that the file is damaged."""
_NOT_UTF8 = re.compile(r"Invalid string encoding .*: value (\".*\") is not valid UTF8", re.DOTALL)
NESTED = ("list", "array", "struct", "map", "union", "variant")
FLOATS = ("float", "double")


class DuckType(Protocol):
    """A type of DuckDB, as its module represents it."""

    @property
    def id(self) -> str:
        """The name, without the types inside it."""
        ...

    @property
    def children(self) -> list[tuple[str, Any]]:
        """The types inside it, with names."""
        ...


def float_text(value: str) -> str:
    """Return SQL for the text of a floating-point number, without the meaningless sign of a NaN."""
    return f"CASE WHEN isnan({value}) THEN 'nan' ELSE {value}::VARCHAR END"


def as_json(value: str, kind: DuckType) -> str:
    """Return SQL for the JSON of a nested value."""
    return f"to_json({_readable(value, kind, count())})"


def _readable(value: str, kind: DuckType, numbers: "count[int]") -> str:
    """Return SQL for the same value, with numbers that JSON can represent."""
    if not _has_floats(kind):
        return value
    if kind.id in FLOATS:
        return (
            f"CASE WHEN isfinite({value}) THEN {value}::VARCHAR::JSON ELSE to_json({float_text(value)}) END"
        )
    item = f"_lume_i{next(numbers)}"
    if kind.id == "struct":
        fields = (
            f"{quoted(name)} := {_readable(f'struct_extract({value}, {text(name)})', child, numbers)}"
            for name, child in kind.children
        )
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
    if kind.id == "map":
        inner = _readable(f"{item}.value", dict(kind.children)["value"], numbers)
        entries = f"[{{'key': {item}.key, 'value': {inner}}} for {item} in map_entries({value})]"
        return f"map_from_entries({entries})"
    return f"[{_readable(item, dict(kind.children)['child'], numbers)} for {item} in {value}]"


def _has_floats(kind: DuckType) -> bool:
    if kind.id == "map":  # its keys become strings anyway
        return _has_floats(dict(kind.children)["value"])
    if kind.id in ("list", "array", "struct"):
        # The children of an array include its size, which is not a type.
        return any(_has_floats(child) for name, child in kind.children if not isinstance(child, int))
    return kind.id in FLOATS


def read_parquet(reading: Reading) -> Relation:
    """Count the rows by the file's own footer. Raises `SourceError`.

    The count sums the row groups, as readers do: some files of parquet-rs have a wrong total.
    """
    groups = f"SELECT DISTINCT row_group_id, row_group_num_rows AS n FROM parquet_metadata({literal(reading.path)})"
    with _reported(reading.shown):
        (rows,) = row_of(reading.connection, f"SELECT coalesce(sum(n), 0) FROM ({groups})")
        names, reader = texts_of(reading.connection, reading.path, reading.shown)
    reading.account.records += int(rows)
    visible = visible_columns(reading.flow, names, reading.shown)
    return relation_of_table(reader, reading.flow, names, visible)


def column_names(reading: Reading) -> list[str]:
    """Return the names of the file's columns. Raises `SourceError`."""
    with _reported(reading.shown):
        return reading.connection.sql(f"FROM {_scan(reading.path)})").columns


@contextmanager
def _reported(shown: str) -> Iterator[None]:
    """Turn DuckDB's errors about a file into `SourceError`."""
    try:
        yield
    except (duckdb.InterruptException, duckdb.PermissionException):
        raise
    except duckdb.Error as error:
        if _is_unsupported(error):
            raise _unsupported(shown, error) from None
        raise SourceError(f"{shown} is not a Parquet file that can be read: {_words(error)}") from None


@contextmanager
def report_damage(connection: duckdb.DuckDBPyConnection, files: dict[str, Path]) -> Iterator[None]:
    """If a scan of Parquet files fails, read each again alone, as DuckDB does not report which one it was.

    Args:
        files: Parquet files only, by their names in messages.

    Raises:
        SourceError: one of them can't be read to its end.
    """
    try:
        yield
    except (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.PermissionException):
        raise
    except duckdb.Error:
        for shown, path in files.items():
            try:
                connection.execute(
                    f"SELECT bit_xor(hash(one)) FROM read_parquet({literal(path)}) AS one"
                ).fetchone()
            except (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.PermissionException):
                raise
            except duckdb.Error as error:
                if _is_unsupported(error):
                    raise _unsupported(shown, error) from None
                words = _words(error)
                if _NOT_UTF8.search(str(error)):
                    raise _not_utf8(connection, shown, path, words) from None
                raise SourceError(
                    f"{shown} is damaged ({words}): copy it again, then submit the run again"
                ) from None
        raise


def _not_utf8(connection: duckdb.DuckDBPyConnection, shown: str, path: Path, words: str) -> SourceError:
    """Return the error for a file with a text that is not valid UTF-8, which names its column."""
    found = _NOT_UTF8.search(words)
    value = f": {elided(found[1], 100)}" if found else ""
    for name in connection.sql(f"FROM read_parquet({literal(path)})").columns:
        try:
            connection.execute(f"SELECT bit_xor(hash({quoted(name)})) FROM read_parquet({literal(path)})")
        except duckdb.InvalidInputException:
            return SourceError(
                f"the column {name!r} of {shown} has a text that is not valid UTF-8{value}: write the file again "
                "with its texts in UTF-8, which Parquet requires"
            )
    return SourceError(f"{shown} has a text that is not valid UTF-8{value}: write its texts in UTF-8")


def _is_unsupported(error: duckdb.Error) -> bool:
    return isinstance(error, duckdb.NotImplementedException) or bool(_UNSUPPORTED.search(str(error)))


def _unsupported(shown: str, error: duckdb.Error) -> SourceError:
    """Return the error for a file that may be valid Parquet."""
    return SourceError(
        f"DuckDB {duckdb.__version__} can't read {shown} ({_words(error)}), which may be valid Parquet: write it "
        "anew with another program, such as pyarrow, and its default settings, then submit that"
    )


def _words(error: duckdb.Error) -> str:
    return named(str(error)).split("\n", 1)[0].strip()


def texts_of(connection: duckdb.DuckDBPyConnection, path: Path, shown: str) -> tuple[list[str], str]:
    """Return the names of a file's columns, and a query for their values as text: `_lume_s0`, `_lume_s1`, …

    Raises:
        SourceError: its values would change.
        duckdb.Error: it can't be read.
    """
    scan, apart = exactly(connection, path, shown)
    found = connection.sql(f"FROM {scan}")
    columns = zip(found.columns, found.types, strict=True)
    items = [f"{_as_text(name, kind, n in apart)} AS _lume_s{n}" for n, (name, kind) in enumerate(columns)]
    return found.columns, f"SELECT {', '.join(items)} FROM {scan}"


def _as_text(name: str, kind: DuckType, is_apart: bool) -> str:
    if is_apart:
        return f"(struct_extract({quoted(name)}, 'date') || ' ' || struct_extract({quoted(name)}, 'time'))"
    if kind.id in FLOATS:
        return f"({float_text(quoted(name))})"
    if kind.id in NESTED:
        return f"{as_json(quoted(name), kind)}::VARCHAR"
    return f"{quoted(name)}::VARCHAR"


_LONGEST = 200
"""Characters of a name in a message."""
_KEEPS_NANOSECONDS = int(duckdb.__version__.split(".")[0]) >= 2
_OF_SPARK = "org.apache.spark.version"
"""In the footer of files written by Spark, whose timestamps are in microseconds, even as INT96."""


@frozen
class Leaf:
    """A column of the file's schema that holds values, or a part of one.

    Attributes:
        path: the names from the column down to it.
        physical: how the file stores a value.
        logical: the meaning of the stored value.
    """

    path: tuple[str, ...]
    physical: str
    logical: str
    precision: int
    scale: int
    given: str


def exactly(connection: DuckDBPyConnection, path: Path, shown: str) -> tuple[str, set[int]]:
    """Return a scan of a file, and the numbers of columns that it splits in two to keep nanoseconds.

    Raises:
        SourceError: a column, or a part of one, can't be read without changing its values.
        duckdb.Error: the file can't be read.
    """
    apart = set[int]()
    rows = connection.execute(
        "SELECT name, num_children, type, coalesce(logical_type, if(converted_type = 'DECIMAL', 'Decimal', '')), "
        f"precision, scale, duckdb_type FROM parquet_schema({literal(path)})"
    ).fetchall()
    _, columns, *_ = rows[0]
    schema = iter(rows[1:])
    leaves = ((number, leaf) for number in range(columns or 0) for leaf in _below((), 1, schema))
    for number, leaf in leaves:
        column, *below = leaf.path
        is_apart = leaf.physical == "INT96" and not _is_of_spark(connection, path)
        if is_apart and _KEEPS_NANOSECONDS and not below:
            apart.add(number)
        elif (why := _changed(leaf)) or is_apart:
            within = f" (in it {'.'.join(leaf.path)[:_LONGEST]})" if below else ""
            if leaf.logical.startswith("Decimal"):
                kind = f"decimal({leaf.precision},{leaf.scale})"
            elif leaf.physical == "INT96":
                kind = "a timestamp of the type INT96"
            else:
                kind = f"a {'time' if leaf.logical.startswith('TimeType') else 'timestamp'} in nanoseconds"
            raise SourceError(
                f"column {column[:_LONGEST]!r} of {shown} is {kind}{within}: {why or _INT96}. Nothing "
                "was read, as the values would change"
            )
    how = ", int96_as='struct'" if apart else ""
    return f"{_scan(path)}{how})", apart


def _scan(path: Path) -> str:
    """Return the beginning of a scan, without its last options."""
    return f"read_parquet({literal(path)}, hive_partitioning=false"


_INT96 = "its nanoseconds can't be read there. Write it as a timestamp of INT64, then submit that"


def _changed(leaf: Leaf) -> str:
    """Return the advice if DuckDB's type can't hold the values; empty if it can."""
    if leaf.logical.startswith("Decimal") and not leaf.given.startswith("DECIMAL"):
        return (
            "no more than 38 digits can be read. Write it as decimal(38, …) or as a string, then submit that"
        )
    if "NanoSeconds" in leaf.logical and not leaf.given.endswith("_NS"):
        return (
            f"DuckDB {duckdb.__version__} reads microseconds. Install DuckDB 2 or later, or write it in "
            "microseconds, then submit that"
        )
    return ""


def _is_of_spark(connection: DuckDBPyConnection, path: Path) -> bool:
    found = f"SELECT count(*) > 0 FROM parquet_kv_metadata({literal(path)}) WHERE key = '{_OF_SPARK}'::BLOB"
    return connection.execute(found).fetchall() == [(True,)]


def _below(above: tuple[str, ...], count: int, rows: Iterator[tuple[Any, ...]]) -> Iterator[Leaf]:
    """Yield the next `count` entries, depth first, as the schema lists them."""
    for _ in range(count):
        name, children, physical, logical, precision, scale, given = next(rows)
        if children:
            yield from _below((*above, name), children, rows)
        else:
            yield Leaf((*above, name), physical or "", logical, precision or 0, scale or 0, given or "")
