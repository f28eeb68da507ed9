"""A Parquet source: its values as texts, as a flow's expressions see those of every source."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lume_local._flow.definition import quoted
from lume_local._worker.file_names import literal
from lume_local._worker.sources.held import named
from lume_local._worker.sources.names import unknown_columns, visible_columns
from lume_local._worker.sources.nested import NESTED, Kind, as_json
from lume_local._worker.sources.reading import Reading
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout


def read_parquet(reading: Reading) -> Layout:
    """Count the rows by the file's own footer. Raises `SourceError`."""
    scan = f"read_parquet({literal(reading.path)}, hive_partitioning=false)"
    try:
        row = reading.connection.execute(
            f"SELECT sum(num_rows) FROM parquet_file_metadata({literal(reading.path)})"
        ).fetchone()
        columns = columns_of(reading.connection, scan)
    except (duckdb.InterruptException, duckdb.PermissionException):
        raise
    except duckdb.Error as error:
        words = named(str(error)).split("\n", 1)[0]
        raise SourceError(f"{reading.shown} is not a Parquet file that can be read: {words}") from None
    assert row is not None
    reading.account.records += int(row[0])
    names = [name for name, _ in columns]
    visible = visible_columns(reading.flow, names, reading.shown)
    items = [f"{as_text(name, kind)} AS _lume_s{n}" for n, (name, kind) in enumerate(columns)]
    reader = f"SELECT {', '.join(items)} FROM {scan}"
    return Layout(reader, tuple(names), visible, unknown=unknown_columns(names, visible))


@contextmanager
def damage_is_told(connection: duckdb.DuckDBPyConnection, files: dict[str, Path]) -> Iterator[None]:
    """Where a scan of Parquet files fails, read each once more alone: DuckDB does not say which one it was.

    Args:
        files: by what messages call them; those that aren't Parquet are left out by the caller.

    Raises:
        SourceError: one of them can't be read to its end.
    """
    try:
        yield
    except (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.PermissionException):
        raise
    except duckdb.Error:
        for shown, path in files.items():
            _refuse_damaged(connection, shown, path)
        raise


def _refuse_damaged(connection: duckdb.DuckDBPyConnection, shown: str, path: Path) -> None:
    try:
        connection.execute(f"SELECT bit_xor(hash(one)) FROM read_parquet({literal(path)}) AS one").fetchone()
    except (duckdb.InterruptException, duckdb.OutOfMemoryException, duckdb.PermissionException):
        raise
    except duckdb.Error as error:
        words = named(str(error)).split("\n", 1)[0].strip()
        raise SourceError(f"{shown} is damaged ({words}): copy it again, then submit the run again") from None


def columns_of(connection: duckdb.DuckDBPyConnection, scan: str) -> list[tuple[str, Kind]]:
    """The names and types of what `scan` reads."""
    found = connection.sql(f"FROM {scan}")
    return list(zip(found.columns, found.types, strict=True))


def as_text(name: str, kind: Kind) -> str:
    """SQL for a column's values as expressions see them."""
    if kind.id in NESTED:
        return f"{as_json(quoted(name), kind)}::VARCHAR"
    return f"{quoted(name)}::VARCHAR"
