"""The kinds of databases, by the scheme of their URLs."""

from lume_local._worker.databases.database import Load, Loader, Query
from lume_local._worker.databases.postgres_load import PostgresLoader
from lume_local._worker.databases.postgres_query import PostgresQuery
from lume_local._worker.databases.sqlite import SqliteLoader, SqliteQuery
from lume_local._worker.databases.url import DatabaseUrl


def query_of(url: DatabaseUrl, query: str, source_path: str) -> Query:
    """The query, begun. Raises `DatabaseTrouble`."""
    kind = SqliteQuery if url.scheme == "sqlite" else PostgresQuery
    return kind(url, query, source_path)


def loader_of(load: Load) -> Loader:
    """What loads it. Raises `DatabaseTrouble`."""
    url = DatabaseUrl.of(load.url_env)
    return SqliteLoader(url, load) if url.scheme == "sqlite" else PostgresLoader(url, load)
