"""DuckDB as a source and a target: one file, which one process at a time may write.

A reader keeps a writer out, too. So each opens the file only while it works, and waits for the others.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error
from lume_local._worker.connection import configure
from lume_local._worker.databases.access import Access, Query
from lume_local._worker.databases.built import Built
from lume_local._worker.databases.columns import TYPES, TableColumn, UniqueIndex
from lume_local._worker.databases.database import (
    LONGEST,
    NUMBER,
    DatabaseTrouble,
    DatabaseUrl,
    Row,
    plain,
)
from lume_local._worker.databases.loader import PATIENCE, FileLoader, check_there
from lume_local._worker.sql import allowed, text

OLDEST = "v1.0.0"
"""The oldest DuckDB that can read a file which a run creates."""
_TURN = 0.05
"""Seconds between attempts to open a file that is in use."""
_IN_USE = re.compile(r"Could not set lock on file|file handle conflict|different configuration")
_HOLDER = re.compile(r"held in (.{1,200}? \(PID \d+\))")
_AT_ONCE = 1000


def connect(url: DatabaseUrl, mode: str, built: Path | None = None) -> DuckDBPyConnection:
    """Open the file once no other process keeps it from us; `mode` is `ro`, `rw`, or `rwc` to create it.

    Its statements reach no other file than `built`, and no network. Raises `DatabaseTrouble`.
    """
    check_there(url, mode)
    what = f"{url.shown} ({url.env}) can't be opened"
    with duckdb_errors(url, what):
        if not Path(url.path).exists():
            _create(Path(url.path))
        connection = _opened(url, mode == "ro")
        with on_error(connection.close):
            reached = [f"allowed_directories=[{allowed([built.parent])}]"] if built else []
            configure(
                connection,
                "TimeZone='UTC'",
                "ieee_floating_point_ops=false",
                "python_enable_replacements=false",
                *reached,
                "enable_external_access=false",
                "lock_configuration=true",
            )
    return connection


def _opened(url: DatabaseUrl, read_only: bool) -> DuckDBPyConnection:
    # Also makes the settings differ from others of this process, which DuckDB would let share one database.
    spill = os.path.join(tempfile.gettempdir(), f"lume-duckdb-{uuid4().hex}")
    config: dict[str, Any] = {
        "threads": "1",
        "memory_limit": "1GB",
        "temp_directory": spill,
        "preserve_insertion_order": "true",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return duckdb.connect(url.path, read_only=read_only, config=config)
        except duckdb.Error as error:
            if not _IN_USE.search(str(error)):
                raise
            if time.monotonic() > end:
                holder = _HOLDER.search(str(error))
                raise DatabaseTrouble(
                    f"{url.shown} ({url.env}) is still open in {holder[1] if holder else 'another process'} after "
                    f"{PATIENCE:.0f} s, and DuckDB lets one process at a time write a file: close it there",
                    may_pass=True,
                ) from None
        time.sleep(_TURN)


def _create(path: Path) -> None:
    """Create an empty file atomically. Another run may create it at this moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    try:
        duckdb.connect(draft, config={"storage_compatibility_version": OLDEST}).close()
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def duckdb_errors(url: DatabaseUrl, what: str, *, blames_rows: bool = False) -> Iterator[None]:
    """Convert errors of DuckDB to `DatabaseTrouble`."""
    try:
        yield
    except duckdb.Error as error:
        words = url.scrubbed(str(error).partition("\n\n")[0])
        # The disk failed, or an earlier write has broken the connection: the rows are not to blame.
        lost = isinstance(error, duckdb.IOException | duckdb.FatalException)
        raise DatabaseTrouble(f"{what}: {elided(words, 2 * LONGEST)}", may_pass=lost) from None


def _columns_of(connection: DuckDBPyConnection, table: str) -> list[TableColumn]:
    items = "column_name, data_type, NOT is_nullable AND column_default IS NULL"
    return [TableColumn(*row) for row in _of_table(connection, "duckdb_columns()", items, table)]


def _unique_of(connection: DuckDBPyConnection, table: str) -> list[UniqueIndex]:
    is_unique = "constraint_type IN ('UNIQUE', 'PRIMARY KEY')"
    keys = _of_table(
        connection, f"(FROM duckdb_constraints() WHERE {is_unique})", "constraint_column_names", table
    )
    indexes = _of_table(
        connection, "(FROM duckdb_indexes() WHERE is_unique)", "CAST(expressions AS VARCHAR[])", table
    )
    quotes = re.compile(r'"(.*)"', re.DOTALL)
    names_of = [names for (names,) in keys] + [
        [match[1].replace('""', '"') if (match := quotes.fullmatch(name)) else name for name in names]
        for (names,) in indexes
    ]
    return [UniqueIndex(dict.fromkeys(names, "")) for names in names_of]


def _is_table(connection: DuckDBPyConnection, table: str) -> bool:
    return bool(_of_table(connection, "duckdb_tables()", "true", table))


def _of_table(connection: DuckDBPyConnection, source: str, items: str, table: str) -> list[Any]:
    """Return what one of DuckDB's own tables has of a table or a view in the file."""
    schema, _, name = table.rpartition(".")
    return connection.execute(
        f"SELECT {items} FROM {source} WHERE database_name = current_database() "
        f"AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?)",
        [schema or "main", name],
    ).fetchall()


ACCESS = Access(TYPES["duckdb"], "$", connect, duckdb_errors, _columns_of, _unique_of, _is_table)


class DuckdbQuery(Query):
    """See `Query`."""

    access = ACCESS

    def _begin(self, query: str, parameters: list[str]) -> None:
        statements = self._connection.extract_statements(query)
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            raise DatabaseTrouble(f"the query can't be run on {self._url.shown}: only a SELECT may be sent")
        described = self._connection.execute(f"DESCRIBE {query}", parameters).fetchall()
        self.names, kinds = [str(one[0]) for one in described], [str(one[1]) for one in described]
        self._numbers = [n for n, kind in enumerate(kinds) if kind in ("FLOAT", "DOUBLE")]
        items = ", ".join(_as_text(f"c{n}", kind) for n, kind in enumerate(kinds))
        rows = f"({query}\n) AS _lume_rows({', '.join(f'c{n}' for n in range(len(kinds)))})"
        self._rows = self._connection.execute(f"SELECT {items} FROM {rows}", parameters)

    def _fetch(self) -> list[Row]:
        rows: list[Row] = self._rows.fetchmany(_AT_ONCE)
        if not self._numbers:
            return rows
        values = (enumerate(row) for row in rows)
        return [tuple(plain(v) if v and n in self._numbers else v for n, v in row) for row in values]


def _as_text(column: str, kind: str) -> str:
    """Return SQL for a value as a string: binary ones as hexadecimal digits, lists and structures as JSON."""
    if kind == "BLOB":
        return f"'\\x' || lower(hex({column}))"
    is_nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))
    return f"CAST({f'to_json({column})' if is_nested else column} AS VARCHAR)"


class DuckdbLoader(FileLoader):
    """See `Loader`."""

    access, begin, joined = ACCESS, "BEGIN TRANSACTION", "SEMI JOIN"

    def check(self) -> None:
        if self._load.on_violation == "reject":
            raise DatabaseTrouble(
                'on_violation = "reject" is not for DuckDB, which undoes all rows if a constraint refuses one. '
                'Demand the same in the flow, by rules, references or unique = "ever"'
            )
        super().check()

    def _connect(self, built: Path) -> DuckDBPyConnection:
        return connect(self._url, "rwc" if self._load.create else "rw", built)

    def _opened(self, connection: DuckDBPyConnection, built: Path) -> AbstractContextManager[Built]:
        return nullcontext(Built(connection, f"read_parquet({text(str(built))})"))

    def _value(self, name: str) -> str:
        return f"CAST(n.{quoted(name)} AS {self._given[name]})"

    def _differs(self, name: str) -> str:
        exact = "encode({})" if self._given[name] == "VARCHAR" else "{}"
        return " IS DISTINCT FROM ".join(map(exact.format, (f"t.{quoted(name)}", self._value(name))))

    def _without(self, connection: DuckDBPyConnection, source: str, numbers: list[int]) -> str:
        connection.execute("CREATE OR REPLACE TEMP TABLE _lume_refused AS SELECT unnest(?) AS n", [numbers])
        return f"(FROM {source} WHERE {NUMBER} NOT IN (FROM _lume_refused))"
