"""Finds values that are missing from a column of a table; the URL decides about the kind of lookup."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from typing import Any

from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error
from lume_local._worker.databases import duckdb_file, postgres, sqlite
from lume_local._worker.databases.columns import DuckdbTypes, PostgresTypes, base_of
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl, ReferenceLookup


def lookup_of(url_env: str, table: str, column: str) -> ReferenceLookup:
    """Open the lookup. Raises `DatabaseTrouble`."""
    url = DatabaseUrl.of(url_env)
    if url.scheme == "duckdb":
        return DuckdbLookup(url, table, column)
    return (SqliteLookup if url.scheme == "sqlite" else PostgresLookup)(url, table, column)


class PostgresLookup:
    """See `ReferenceLookup`."""

    def __init__(self, url: DatabaseUrl, table: str, column: str) -> None:
        self._url, self._shown = url, f"{table}.{column} in {url.shown}"
        self._connection = postgres.connect(url)
        with on_error(self.close):
            with postgres.psycopg_errors(url, f"{self._shown} can't be read"):
                self._connection.read_only = True
                name = PostgresTypes().spelled(table)
                found = self._connection.execute(
                    "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = to_regclass(%s) "
                    "AND attname = %s AND NOT attisdropped",
                    [name, column],
                ).fetchone()
            if found is None:
                raise DatabaseTrouble(f"there is no column {self._shown}: correct references in the flow")
        there = f"SELECT 1 FROM {name} AS t WHERE t.{quoted(column)} = v::{base_of(found[0])}".replace(
            "%", "%%"
        )
        self._query = f"SELECT v FROM unnest(%s::text[]) AS v WHERE NOT EXISTS ({there})"

    def missing(self, values: list[str]) -> list[str]:
        with postgres.psycopg_errors(self._url, f"{self._shown} can't be searched"):
            rows = self._connection.execute(postgres.sent(self._query), [values])
            return [value for (value,) in rows]

    def close(self) -> None:
        self._connection.close()


class SqliteLookup:
    """See `ReferenceLookup`. A numeric column compares values as numbers, a text column by its collation."""

    def __init__(self, url: DatabaseUrl, table: str, column: str) -> None:
        self._url, self._shown = url, f"{table}.{column} in {url.shown}"
        self._connection = sqlite.connect(url, "ro")
        # A join of two tables, as SQLite then builds an index if the table has none.
        there, name = quoted(table), f"t.{quoted(column)}"
        joined = f"temp._lume_sought AS sought LEFT JOIN {there} AS t ON {name} = sought.v"
        self._query = f"SELECT sought.v FROM {joined} WHERE {name} IS NULL"
        with on_error(self.close):
            with sqlite.sqlite_errors(url, f"{self._shown} can't be read"):
                self._connection.execute("CREATE TEMP TABLE _lume_sought (v)")
                columns: list[Any] = self._connection.execute(
                    "SELECT name FROM pragma_table_xinfo(?)", [table]
                ).fetchall()
            if column.lower() not in {name.lower() for (name,) in columns}:  # SQLite takes it for a string
                raise DatabaseTrouble(f"there is no column {self._shown}: correct references in the flow")

    def missing(self, values: list[str]) -> list[str]:
        with sqlite.sqlite_errors(self._url, f"{self._shown} can't be searched"):
            self._connection.execute("DELETE FROM temp._lume_sought")
            self._connection.executemany("INSERT INTO temp._lume_sought VALUES (?)", zip(values))
            return [value for (value,) in self._connection.execute(self._query)]

    def close(self) -> None:
        self._connection.close()


class DuckdbLookup:
    """See `ReferenceLookup`. A value that the column can't have is missing."""

    def __init__(self, url: DatabaseUrl, table: str, column: str) -> None:
        self._url, self._shown = url, f"{table}.{column} in {url.shown}"
        self._connection = duckdb_file.connect(url, "ro")
        with on_error(self.close):
            with duckdb_file.duckdb_errors(url, f"{self._shown} can't be read"):
                columns = duckdb_file.columns_of(self._connection, table)
            kind = next((kind for name, kind, _ in columns if name.lower() == column.lower()), None)
            if kind is None:
                raise DatabaseTrouble(f"there is no column {self._shown}: correct references in the flow")
        there = f"{DuckdbTypes().spelled(table)} AS t ON t.{quoted(column)} = TRY_CAST(v AS {kind})"
        self._query = f"SELECT v FROM (SELECT unnest(?) AS v) ANTI JOIN {there}"

    def missing(self, values: list[str]) -> list[str]:
        with duckdb_file.duckdb_errors(self._url, f"{self._shown} can't be searched"):
            return [value for (value,) in self._connection.execute(self._query, [values]).fetchall()]

    def close(self) -> None:
        self._connection.close()
