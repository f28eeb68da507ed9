"""The kinds of databases, by the scheme of their URLs."""

from attrs import frozen

from lume_local._worker.databases.columns import DuckdbTypes, PostgresTypes, SqliteTypes, Types
from lume_local._worker.databases.database import DatabaseUrl, Loader, Query
from lume_local._worker.databases.duckdb_file import DuckdbLoader, DuckdbQuery
from lume_local._worker.databases.postgres import PostgresLoader, PostgresQuery
from lume_local._worker.databases.sqlite import SqliteLoader, SqliteQuery


@frozen
class Kind:
    types: Types
    query: type[Query]
    loader: type[Loader]


KINDS = {
    "postgresql": Kind(PostgresTypes(), PostgresQuery, PostgresLoader),
    "sqlite": Kind(SqliteTypes(), SqliteQuery, SqliteLoader),
    "duckdb": Kind(DuckdbTypes(), DuckdbQuery, DuckdbLoader),
}


def query_of(url: DatabaseUrl, query: str, source_path: str) -> Query:
    """Start the query. Raises `DatabaseTrouble`."""
    return KINDS[url.scheme].query(url, query, source_path)
