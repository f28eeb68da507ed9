"""The rows of a Parquet output, by DuckDB: a position is the number of a row, and only its row groups are read."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection, OutOfMemoryException

from lume_local._flow.definition import quoted
from lume_local._worker.file_names import allowed, literal
from lume_local._worker.outputs.row_json import (
    BOOLEAN,
    LINE,
    NUMBER,
    RAW,
    REASONS,
    ROW,
    OutputRow,
    object_json,
)

_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
_MOST = 5000
_AT_ONCE = 4 * 1024 * 1024
"""Characters that one query should give: rows may be short or very long."""


def confine_read(connection: DuckDBPyConnection, path: Path) -> None:
    """From here on the connection reads this file and reaches nothing else."""
    for setting in (
        "memory_limit='512MB'",
        "threads=1",
        "temp_directory=''",
        f"allowed_paths=[{allowed([path])}]",
        "enable_external_access=false",
        "lock_configuration=true",
    ):
        connection.execute(f"SET {setting}")


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
        """The number of the next row."""
        return self._next

    def __iter__(self) -> Iterator[OutputRow]:
        """Each row."""
        is_rejects = self._names[:3] == [ROW, LINE, REASONS]
        for values in self._rows():
            self._next += 1
            yield self._reject(values) if is_rejects else OutputRow(self._object(values, 0))

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

    def _reject(self, values: tuple[Any, ...]) -> OutputRow:
        without = -1 if self._names[-1] == RAW and values[-1] is None else None
        row, line, reasons = values[:3]
        body = self._object(values, 3, without)
        return OutputRow(body, row and int(row), line and int(line), reasons or "")

    def _object(self, values: tuple[Any, ...], start: int, end: int | None = None) -> bytes:
        return object_json(self._names[start:end], values[start:end], self._kinds[start:end])


def _kind(sql_type: str) -> str | None:
    if sql_type == "BOOLEAN":
        return BOOLEAN
    return NUMBER if _NUMERIC.fullmatch(sql_type) else None
