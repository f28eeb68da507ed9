"""A page of an output as Arrow record batches, with the types of a Parquet file, or of the flow.

DuckDB returns results in Arrow's memory relation, and nanoarrow writes them: as fast as pyarrow, which is fifty times
as large. All pages of an output have the same schema.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, quoted, or types of a checked flow.
import json
from importlib import import_module
from typing import IO, Any

import duckdb
from duckdb import DuckDBPyConnection, DuckDBPyRelation, OutOfMemoryException

from lume_local._flow.definition import quoted
from lume_local._shared.protocol import Read
from lume_local._worker.compiler.columns import storage_type
from lume_local._worker.connection import confine_check, connect
from lume_local._worker.outputs.readers import CsvRows, ParquetRows
from lume_local._worker.outputs.row_json import LINE, REASONS, ROW, Broken, OutputRow, OutputRows, Reasons
from lume_local._worker.sql import text

MOST_BYTES = 8 * 1024 * 1024
"""Bytes of a page after which no further batch is added."""
MOST_SCANNED = 32 * 1024 * 1024, 10_000_000
"""Bytes of a text file, or rows of a Parquet file, that are read for one page, wanted or not."""
_FIRST, _MOST = 2048, 500_000
"""Rows of the first batch of a Parquet file, which shows how long rows are; and of any batch."""
_TOO_LARGE = 4
"""A batch this many times as large as a page is built again with half its rows."""
_AT_ONCE = 10_000
"""Rows of a text file in a batch."""

_EXACT = {
    *("boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"),
    *("float", "double", "decimal", "varchar", "blob", "uuid", "interval", "date", "time", "time_ns"),
    *("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone"),
}
_NESTED = {"list", "struct", "map"}
"""DuckDB's types that Arrow holds without loss. A column of any other type becomes text, as in JSON."""
_INFINITE = "has an infinite time, which Arrow does not have"


class NotArrow(Exception):
    """The rows can't be sent in this form; the message says why."""


class ArrowPage:
    """The page that is being written to a file."""

    def __init__(self, target: IO[bytes], *, with_schema: bool) -> None:
        self._target, self._with_schema = target, with_schema
        # Imported here, as most workers write no Arrow.
        self._writer = import_module("nanoarrow.ipc").StreamWriter.from_writable(target)

    @property
    def size(self) -> int:
        return self._target.tell()

    @property
    def is_full(self) -> bool:
        return self.size >= MOST_BYTES

    def add(self, batch: DuckDBPyRelation) -> None:
        """Add rows; the first call adds the schema, too."""
        is_first = self.size == 0
        self._writer.write_stream(batch, write_schema=self._with_schema and is_first)

    def cut(self, size: int) -> None:
        self._target.seek(size)
        self._target.truncate()


def write_rows(
    job: Read, rows: OutputRows, reasons: Reasons | None, page: ArrowPage
) -> tuple[str | None, int]:
    """Write a page; return the position of the next one (None after the last) and the number of rows before it.

    `reasons` is set for rejects. Raises `NotArrow`, `Broken`, `duckdb.Error`.
    """
    if isinstance(rows, ParquetRows):
        return _ParquetPage(job, rows, reasons, page).write()
    columns = _text_columns(job, rows)
    found, read, left, scanned, out = iter(rows), job.row, job.limit, 0, job.left_out_flags()
    with connect() as connection:
        confine_check(connection)
        while True:
            batch: list[dict[str, Any]] = []
            one = None
            while len(batch) < min(left, _AT_ONCE) and scanned < MOST_SCANNED[0]:
                one = next(found, None)
                if one is None:
                    break
                read, scanned = read + 1, scanned + len(one.body)
                if out[read - 1 : read] == b"\1":
                    continue
                values = _texts_of(one, reasons)
                if not values.keys() <= columns.keys():
                    raise Broken("a row has a column that others do not have")
                if job.reason is None or job.reason in values[REASONS]:
                    batch.append(values)
            page.add(_typed(connection, columns, batch))
            left -= len(batch)
            if one is None:
                return None, read
            if not left or page.is_full or scanned >= MOST_SCANNED[0]:
                position = str(rows.position())
                return None if next(found, None) is None else position, read


def write_no_rows(job: Read, page: ArrowPage) -> tuple[None, int]:
    """Write a page without rows, for a run without rejects or an empty table."""
    types = _stored(job.table) or {ROW: "BIGINT", LINE: "BIGINT", REASONS: "VARCHAR[]"}
    with connect() as connection:
        columns = (f"NULL::{kind} AS {quoted(name)}" for name, kind in types.items())
        page.add(connection.sql(f"SELECT {', '.join(columns)} LIMIT 0"))
    return None, 0


# -- Parquet: read by DuckDB


class _ParquetPage:
    """Writes batches, each by a query: some rows show how many more fit into the page."""

    def __init__(self, job: Read, rows: ParquetRows, reasons: Reasons | None, page: ArrowPage) -> None:
        self._job, self._rows, self._reasons, self._page = job, rows, reasons, page
        self._connection = rows.connection
        kinds, self._given = dict(zip(self._rows.names, self._rows.types, strict=True)), "*"
        if job.table:
            stored, there = _stored(job.table), kinds.keys()
            names = {name: quoted(name) if name in there else "NULL" for name in stored}
            given = (f"CAST({names[name]} AS {kind}) AS {quoted(name)}" for name, kind in stored.items())
            self._given = ", ".join((*given, "_lume_n"))
            kinds = {name: duckdb.type(kind) for name, kind in stored.items()}
        self._out = job.left_out_flags()
        columns = {name: _exactly(name, kind) for name, kind in kinds.items()}
        if self._reasons is not None:
            if list(columns)[:3] != [ROW, LINE, REASONS]:
                raise Broken("a row has no reasons")
            columns |= {name: f"CAST({name} AS BIGINT) AS {name}" for name in (ROW, LINE)}
            columns[REASONS] = f"_lume_list AS {REASONS}"
        self._columns = ", ".join(columns.values())
        self._left = job.limit

    def write(self) -> tuple[str | None, int]:
        begin = start = int(self._job.position)
        total, size = self._rows.count(), _FIRST
        while True:
            before, end, found = self._page.size, min(start + size, total), 0
            if self._job.reason is None:
                end = min(end, start + self._left)
            try:
                found, end = self._add(start, end)
                is_too_large = self._page.size - before > _TOO_LARGE * MOST_BYTES
            except OutOfMemoryException:
                if end - start <= 1:
                    raise
                is_too_large = True
            if is_too_large and end - start > 1:
                self._page.cut(before)
                size = (end - start) // 2
                continue
            self._left -= found
            if end >= total:
                return None, max(end, start)
            if not self._left or self._page.is_full or end - begin >= MOST_SCANNED[1]:
                return str(end), end
            wanted = (MOST_BYTES - self._page.size) * (end - start) // max(1, self._page.size - before)
            start, size = end, max(1, min(wanted, _MOST))

    def _add(self, start: int, end: int) -> tuple[int, int]:
        """Add the rows from `start` to before `end`, or enough rows with the wanted reason.

        Returns their number, and where the next rows begin.
        """
        table = f"({self._rows.between(start, end)})"
        if self._reasons is None:
            query = f"SELECT {self._columns} FROM (SELECT {self._given} FROM {table}"
            if out := [start + n for n, is_out in enumerate(self._out[start:end]) if is_out]:
                self._connection.execute(
                    "CREATE OR REPLACE TEMP TABLE lume_out AS SELECT unnest($1) AS n", [out]
                )
                query += " WHERE _lume_n NOT IN (SELECT n FROM lume_out)"
            self._page.add(self._connection.sql(f"{query}) ORDER BY _lume_n"))
            return end - start - len(out), end
        count = end - start
        self._split_reasons(table, self._reasons)
        table += f" JOIN lume_reasons ON coalesce({REASONS}, '') = _lume_joined"
        if self._job.reason is not None:
            numbers = self._connection.execute(
                f"SELECT _lume_n FROM {table} ORDER BY _lume_n LIMIT {self._left}"
            ).fetchall()
            count = len(numbers)
            if count == self._left:
                end = numbers[-1][0] + 1
                table += f" WHERE _lume_n < {end}"
        self._page.add(self._connection.sql(f"SELECT {self._columns} FROM {table} ORDER BY _lume_n"))
        return count, end

    def _split_reasons(self, table: str, reasons: Reasons) -> None:
        """Fill the table `lume_reasons` with the reasons of the wanted rows, each as a list."""
        found = self._connection.execute(f"SELECT DISTINCT coalesce({REASONS}, '') FROM {table}").fetchall()
        lists = {joined: reasons.split(joined) for (joined,) in found}
        if self._job.reason is not None:
            lists = {joined: each for joined, each in lists.items() if self._job.reason in each}
        columns = "_lume_joined VARCHAR, _lume_list VARCHAR[]"
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE lume_reasons ({columns})")
        self._connection.execute(
            "INSERT INTO lume_reasons SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[][])",
            [list(lists), list(lists.values())],
        )


# -- CSV and NDJSON: their readers return text


def _stored(types: dict[str, str]) -> dict[str, str]:
    return {name: storage_type(kind) for name, kind in types.items()}


def _text_columns(job: Read, rows: OutputRows) -> dict[str, str]:
    if job.table:
        return _stored(job.table)
    if isinstance(rows, CsvRows):
        types = {name: storage_type(job.types.get(name, "VARCHAR")) for name in rows.names}
        return types | ({ROW: "BIGINT", LINE: "BIGINT", REASONS: "VARCHAR[]"} if job.is_rejects else {})
    if job.is_rejects:
        raise NotArrow("rejects in NDJSON are objects without common columns")
    return _stored(job.types)


def _texts_of(row: OutputRow, reasons: Reasons | None) -> dict[str, Any]:
    """Return the values of the row as text; Lume's own columns stay as they are."""
    values = json.loads(row.body, parse_int=str, parse_float=str)
    texts = {name: _text_of(value) for name, value in values.items()}
    if reasons is None:
        return texts
    if row.reasons is None:
        raise Broken("a row has no reasons")
    return {ROW: row.row, LINE: row.line, REASONS: reasons.split(row.reasons), **texts}


def _text_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    raise Broken("a value is nested, which no column of the flow is")


def _typed(
    connection: DuckDBPyConnection, columns: dict[str, str], batch: list[dict[str, Any]]
) -> DuckDBPyRelation:
    given, exact, values = [], [], []
    for number, (name, kind) in enumerate(columns.items(), 1):
        many = f"{kind}[]" if name in (ROW, LINE, REASONS) else "VARCHAR[]"
        given.append(f"CAST(unnest(${number}::{many}) AS {kind}) AS {quoted(name)}")
        exact.append(_exactly(name, duckdb.type(kind)))
        values.append([row.get(name) for row in batch])
    return connection.sql(f"SELECT {', '.join(exact)} FROM (SELECT {', '.join(given)})", params=values)


# -- both


def _exactly(name: str, kind: Any) -> str:
    """Return SQL for the column in a type that Arrow has; an infinite time is an error."""
    column = quoted(name)
    if not _is_exact(kind):
        return f"CAST({column} AS VARCHAR) AS {column}"
    if "DATE" not in str(kind) and "TIMESTAMP" not in str(kind):
        return column
    infinite = (
        f"contains(CAST({column} AS VARCHAR), 'infinity')" if kind.id in _NESTED else f"isinf({column})"
    )
    message = text(f"column {name[:60]!r} {_INFINITE}")
    return f"CASE WHEN {infinite} THEN error({message}) ELSE {column} END AS {column}"


def _is_exact(kind: Any) -> bool:
    if kind.id in _NESTED:
        return all(_is_exact(part) for _, part in kind.children)
    return kind.id in _EXACT and str(kind) != "JSON"


def is_infinite(error: Exception) -> bool:
    """Return whether DuckDB's error is about a time that Arrow can't hold."""
    return _INFINITE in str(error)
