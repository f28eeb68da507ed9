"""Empty states of each kind, for tests of what any store must do."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import postgres_server
from attrs import frozen

from lume_local._runs.postgres import postgres_state
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore

STATE_ENV = "LUME_STATE_URL"
"""The variable in which the tests' servers find the URL of their state."""
KINDS = ("sqlite", "postgresql")


class Stores(Protocol):
    """Opens any number of stores."""

    def opened(self) -> AbstractAsyncContextManager[SqlStore]:
        """An empty one, as long as the block lasts."""
        ...


@frozen
class SqliteStores:
    folder: Path

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SqlStore]:
        with closing(SqliteStore(self.folder / uuid.uuid4().hex)) as store:
            yield store


@frozen
class PostgresStores:
    server: postgres_server.Server

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SqlStore]:
        with database(self.server) as url:
            async with at(url) as store:
                yield store


@asynccontextmanager
async def at(url: str) -> AsyncIterator[SqlStore]:
    """The store in a database, which may be empty; without a lease."""
    async with postgres_state.opened(url) as store:
        yield store


@contextmanager
def database(server: postgres_server.Server, template: str = "template1") -> Iterator[str]:
    """The URL of a new database, which has what the template has."""
    name, template = f"t{uuid.uuid4().hex}", urlsplit(template).path.strip("/")
    server.execute_outside(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield urlsplit(server.url)._replace(path=f"/{name}").geturl()
    finally:
        server.execute_outside(f"DROP DATABASE {name} WITH (FORCE)")
