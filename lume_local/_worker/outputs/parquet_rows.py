"""The rows of a Parquet output, by DuckDB: a position is the number of a row, and only its row groups are read."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection, OutOfMemoryException

from lume_local._flow.definition import quoted
from lume_local._worker.outputs.row_json import BOOLEAN, NUMBER, OutputRow, output_row
from lume_local._worker.sql import literal

_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
_MOST = 5000
_AT_ONCE = 4 * 1024 * 1024
"""Characters that one query should give: rows may be short or very long."""


class ParquetRows:
    """Reads from the row `position` on, at first `size` rows at a time: each query reads a whole row group."""

    def __init__(self, connection: DuckDBPyConnection, path: Path, position: int, size: int) -> None:
        self._connection, self._next, self._size = connection, position, size
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(path)})").fetchall()
        self._names = [row[0] for row in described]
        self._kinds = [_kind(row[1]) for row in described]
        # A source may have a column of that name, and so its rejects: then rows are counted.
        self._is_hidden = "file_row_number" in map(str.lower, self._names)
        self._table = f"read_parquet({literal(path)}, file_row_number={not self._is_hidden})"

    def position(self) -> int:
        return self._next

    def __iter__(self) -> Iterator[OutputRow]:
        for values in self._rows():
            self._next += 1
            yield output_row(self._names, values, self._kinds)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        columns = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in self._names)
        size = self._size
        while True:
            start = self._next
            which = f"WHERE file_row_number >= {start} AND file_row_number < {start + size} ORDER BY file_row_number"
            if self._is_hidden:
                which = f"LIMIT {size} OFFSET {start}"
            query = f"SELECT {columns} FROM {self._table} {which}"
            try:
                rows = self._connection.execute(query).fetchall()
            except OutOfMemoryException:
                if size == 1:
                    raise
                size //= 2  # the rows are longer than most
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
