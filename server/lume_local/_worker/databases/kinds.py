"""The kinds of databases, by the scheme of their URLs."""

from typing import NamedTuple

from lume_local._worker.databases.columns import DuckdbTypes, PostgresTypes, SqliteTypes, Types
from lume_local._worker.databases.database import DatabaseUrl, Loader, Query
from lume_local._worker.databases.duckdb_file import DuckdbLoader, DuckdbQuery
from lume_local._worker.databases.postgres import PostgresLoader, PostgresQuery
from lume_local._worker.databases.sqlite import SqliteLoader, SqliteQuery


class DatabaseKind(NamedTuple):
    types: Types
    query: type[Query]
    loader: type[Loader]


KINDS = {
    "postgresql": DatabaseKind(PostgresTypes(), PostgresQuery, PostgresLoader),
    "sqlite": DatabaseKind(SqliteTypes(), SqliteQuery, SqliteLoader),
    "duckdb": DatabaseKind(DuckdbTypes(), DuckdbQuery, DuckdbLoader),
}


def query_of(url: DatabaseUrl, query: str, source_path: str) -> Query:
    """Start the query. Raises `DatabaseTrouble`."""
    return KINDS[url.scheme].query(url, query, source_path)
