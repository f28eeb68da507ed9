"""The kinds of databases, by the scheme of their URLs."""

from typing import NamedTuple

from lume_local._worker.databases.access import Access, Query
from lume_local._worker.databases.database import DatabaseUrl
from lume_local._worker.databases.duckdb_file import DuckdbLoader, DuckdbQuery
from lume_local._worker.databases.loader import Loader
from lume_local._worker.databases.postgres import PostgresLoader, PostgresQuery
from lume_local._worker.databases.sqlite import SqliteLoader, SqliteQuery


class DatabaseKind(NamedTuple):
    query: type[Query]
    loader: type[Loader]

    @property
    def access(self) -> Access:
        return self.query.access


KINDS = {
    "postgresql": DatabaseKind(PostgresQuery, PostgresLoader),
    "sqlite": DatabaseKind(SqliteQuery, SqliteLoader),
    "duckdb": DatabaseKind(DuckdbQuery, DuckdbLoader),
}


def query_of(url: DatabaseUrl, query: str, source_path: str) -> Query:
    """Start the query. Raises `DatabaseTrouble`."""
    return KINDS[url.scheme].query(url, query, source_path)
