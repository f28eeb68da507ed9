"""Reads the rows of a Parquet output with DuckDB: a position is a row number, and only its row groups are read."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection, OutOfMemoryException

from lume_local._flow.definition import quoted
from lume_local._worker.outputs.row_json import BOOLEAN, NUMBER, OutputRow, output_row
from lume_local._worker.sql import literal, row_of

_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
_MOST = 5000
_AT_ONCE = 4 * 1024 * 1024
"""Characters to aim at per query: rows may be short or very long."""


class ParquetRows:
    """Reads from the row `position`, at first `size` rows at a time: each query reads a whole row group."""

    def __init__(self, connection: DuckDBPyConnection, path: Path, position: int, size: int) -> None:
        self.connection, self._next, self._size = connection, position, size
        described = connection.sql(f"SELECT * FROM read_parquet({literal(path)})")
        self.names, self.types = described.columns, described.types
        self._kinds = [_kind(str(one)) for one in self.types]
        # If a source, and so its rejects, has a column of that name, rows are counted instead.
        self._is_hidden = "file_row_number" in map(str.lower, self.names)
        self._table = f"read_parquet({literal(path)}, file_row_number={not self._is_hidden})"

    def count(self) -> int:
        """Return the number of rows in the file."""
        return int(row_of(self.connection, f"SELECT count(*) FROM {self._table}")[0])

    def between(self, start: int, end: int) -> str:
        """Return SQL for these rows, each with its number in the file as `_lume_n`."""
        if self._is_hidden:
            rows = f"SELECT * FROM {self._table} LIMIT {end - start} OFFSET {start}"
            return f"SELECT *, {start} + row_number() OVER () - 1 AS _lume_n FROM ({rows})"
        which = f"file_row_number >= {start} AND file_row_number < {end}"
        return f"SELECT *, file_row_number AS _lume_n FROM {self._table} WHERE {which}"

    def position(self) -> int:
        return self._next

    def __iter__(self) -> Iterator[OutputRow]:
        for values in self._rows():
            self._next += 1
            yield output_row(self.names, values, self._kinds)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        columns = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in self.names)
        size = self._size
        while True:
            table = self.between(self._next, self._next + size)
            try:
                rows = self.connection.execute(f"SELECT {columns} FROM ({table}) ORDER BY _lume_n").fetchall()
            except OutOfMemoryException:
                if size == 1:
                    raise
                size //= 2  # these rows are longer than most
                continue
            if not rows:
                return
            yield from rows
            length = sum(len(value) for row in rows for value in row if value is not None)
            size = max(1, min(_MOST, 2 * size, _AT_ONCE * len(rows) // max(1, length)))


def _kind(sql_type: str) -> str | None:
    if sql_type == "BOOLEAN":
        return BOOLEAN
    return NUMBER if _NUMERIC.fullmatch(sql_type) else None
