"""Reads the rows that a run has built as Parquet, in the forms that databases take; with its own DuckDB."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_async._base.words import counted
from lume_local._flow.definition import quoted
from lume_local._worker.connection import configure
from lume_local._worker.databases.database import DatabaseTrouble, shown
from lume_local._worker.sql import row_of, text

_AT_ONCE = 1000


@frozen
class Built:
    connection: DuckDBPyConnection
    rows: str

    def count(self) -> int:
        return int(row_of(self.connection, f"SELECT count(*) FROM {self.rows}")[0])

    def check_key(self, key: list[str], compared: Iterable[str] = ()) -> None:
        """Check that no two rows have the same key. Raises `DatabaseTrouble`.

        `compared` are expressions for the columns of the key, equal where the table considers them equal.
        """
        if not key:
            return
        names = ", ".join(f"min({quoted(name)})" for name in key)
        groups = ", ".join(compared or map(quoted, key))
        query = (
            f"SELECT count(*) OVER (), {names} FROM {self.rows} GROUP BY {groups} HAVING count(*) > 1 "
            f"ORDER BY {names} LIMIT 1"
        )
        if row := self.connection.execute(query).fetchone():
            count, *values = row
            key_of, keys = (
                f"value of the key ({', '.join(key)}) is",
                f"values of the key ({', '.join(key)}) are",
            )
            raise DatabaseTrouble(
                f"{counted(count, key_of, keys)} in several rows, but an "
                f"upsert could keep only one ({shown(key, values)}): choose a key that is unique in every row"
            )

    def batches(self, items: list[str]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of rows as Python values; `items` are the expressions to select."""
        found = self.connection.execute(f"SELECT {', '.join(items)} FROM {self.rows}")
        while rows := found.fetchmany(_AT_ONCE):
            yield rows


@contextmanager
def opened(path: Path) -> Iterator[Built]:
    """Open the rows of a file for the duration of the block."""
    with own_database("256MB", path.parent / "load-spill") as connection:
        yield Built(connection, f"read_parquet({text(str(path))})")


@contextmanager
def own_database(memory: str, spill: Path) -> Iterator[DuckDBPyConnection]:
    """Open a database besides the run's, which may read any file; it keeps the order of the rows."""
    with duckdb.connect(":memory:") as connection:
        limits = f"memory_limit={text(memory)}", "threads=1", f"temp_directory={text(str(spill))}"
        configure(connection, *limits, "TimeZone='UTC'", "preserve_insertion_order=true")
        yield connection
