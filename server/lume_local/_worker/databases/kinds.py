"""The kinds of databases, by the scheme of their URLs."""

from lume_local._worker.databases.access import Query
from lume_local._worker.databases.duckdb_file import DuckdbLoader, DuckdbQuery
from lume_local._worker.databases.loader import Loader
from lume_local._worker.databases.postgres import PostgresLoader, PostgresQuery
from lume_local._worker.databases.sqlite import SqliteLoader, SqliteQuery

QUERIES: dict[str, type[Query]] = {"postgresql": PostgresQuery, "sqlite": SqliteQuery, "duckdb": DuckdbQuery}
LOADERS: dict[str, type[Loader]] = {
    "postgresql": PostgresLoader,
    "sqlite": SqliteLoader,
    "duckdb": DuckdbLoader,
}
ACCESS = {scheme: query.access for scheme, query in QUERIES.items()}
