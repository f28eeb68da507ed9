"""Finds the columns of a Parquet file whose values DuckDB would change: they are read differently, or refused."""

# ruff: noqa: S608 - the parts of its SQL are quoted.
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import literal

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
    """Return a scan of a file, and the columns (from 0) that are its structs of `date` and `time`, with nanoseconds.

    Raises:
        SourceError: a column, or a part of one, can't be read without changing its values.
        duckdb.Error: the file can't be read.
    """
    apart = set[int]()
    for number, leaf in _leaves(connection, path):
        column, *below = leaf.path
        is_apart = leaf.physical == "INT96" and not _is_of_spark(connection, path)
        if is_apart and _KEEPS_NANOSECONDS and not below:
            apart.add(number)
        elif (why := _changed(leaf)) or is_apart:
            within = f" (in it {'.'.join(leaf.path)[:_LONGEST]})" if below else ""
            raise SourceError(
                f"column {column[:_LONGEST]!r} of {shown} is {_named(leaf)}{within}: {why or _INT96}. Nothing "
                "was read, as the values would change"
            )
    how = ", int96_as='struct'" if apart else ""
    return f"read_parquet({literal(path)}, hive_partitioning=false{how})", apart


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


def _named(leaf: Leaf) -> str:
    if leaf.logical.startswith("Decimal"):
        return f"decimal({leaf.precision},{leaf.scale})"
    if leaf.physical == "INT96":
        return "a timestamp of the type INT96"
    return f"a {'time' if leaf.logical.startswith('TimeType') else 'timestamp'} in nanoseconds"


def _is_of_spark(connection: DuckDBPyConnection, path: Path) -> bool:
    found = f"SELECT count(*) > 0 FROM parquet_kv_metadata({literal(path)}) WHERE key = '{_OF_SPARK}'::BLOB"
    return connection.execute(found).fetchall() == [(True,)]


def _leaves(connection: DuckDBPyConnection, path: Path) -> Iterator[tuple[int, Leaf]]:
    """Yield each leaf with the number of its column."""
    rows = connection.execute(
        "SELECT name, num_children, type, coalesce(logical_type, if(converted_type = 'DECIMAL', 'Decimal', '')), "
        f"precision, scale, duckdb_type FROM parquet_schema({literal(path)})"
    ).fetchall()
    _, columns, *_ = rows[0]
    below = iter(rows[1:])
    for number in range(columns or 0):
        for leaf in _below((), 1, below):
            yield number, leaf


def _below(above: tuple[str, ...], count: int, rows: Iterator[tuple[Any, ...]]) -> Iterator[Leaf]:
    """Yield the next `count` entries, depth first, as the schema lists them."""
    for _ in range(count):
        name, children, physical, logical, precision, scale, given = next(rows)
        if children:
            yield from _below((*above, name), children, rows)
        else:
            yield Leaf((*above, name), physical or "", logical, precision or 0, scale or 0, given or "")
