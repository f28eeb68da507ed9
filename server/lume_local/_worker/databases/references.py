"""Finds values that are missing from a column of a table."""

from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error
from lume_local._worker.databases.columns import base_of
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl
from lume_local._worker.databases.kinds import ACCESS

_MISSING = {
    "postgresql": "SELECT v FROM unnest($1::text[]) AS v WHERE NOT EXISTS "
    "(SELECT 1 FROM {table} AS t WHERE t.{column} = v::{kind})",
    # A value that the column can't have is missing.
    "duckdb": "SELECT v FROM (SELECT unnest($1) AS v) ANTI JOIN {table} AS t "
    "ON t.{column} = TRY_CAST(v AS {kind})",
    # A join of two tables, as SQLite then builds an index if the table has none. A numeric column compares values
    # as numbers, a text column by its collation.
    "sqlite": "SELECT s.v FROM temp._lume_sought AS s LEFT JOIN {table} AS t ON t.{column} = s.v "
    "WHERE t.{column} IS NULL",
}


class ReferenceLookup:
    """Looks values up in a column of a table. Raises `DatabaseTrouble`."""

    def __init__(self, url_env: str, table: str, column: str) -> None:
        self._url = url = DatabaseUrl.of(url_env)
        self._access, self._shown = ACCESS[url.scheme], f"{table}.{column} in {url.shown}"
        self._connection = self._access.connect(url, "ro")
        with on_error(self.close):
            with self._access.errors(url, f"{self._shown} can't be read"):
                columns = {one.name: one.type for one in self._access.columns(self._connection, table)}
            if url.scheme != "postgresql":
                columns = {name.lower(): kind for name, kind in columns.items()}
            kind = columns.get(column if url.scheme == "postgresql" else column.lower())
            if kind is None:  # SQLite would take the name for a string
                raise DatabaseTrouble(f"there is no column {self._shown}: correct references in the flow")
        self._query = _MISSING[url.scheme].format(
            table=self._access.types.spelled(table),
            column=quoted(column),
            kind=base_of(kind) if url.scheme == "postgresql" else kind,
        )

    def missing(self, values: list[str]) -> list[str]:
        """Return the values that the column lacks."""
        execute, parameters = self._connection.execute, [values]
        with self._access.errors(self._url, f"{self._shown} can't be searched"):
            if self._url.scheme == "sqlite":
                execute("CREATE TEMP TABLE IF NOT EXISTS _lume_sought (v)")
                execute("DELETE FROM temp._lume_sought")
                self._connection.executemany("INSERT INTO temp._lume_sought VALUES (?)", zip(values))
                parameters = []
            return [value for (value,) in execute(self._query, parameters).fetchall()]

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()
