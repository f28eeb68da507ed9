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
from lume_local._runs.postgres.postgres_sql import connections
from lume_local._runs.postgres.postgres_store import PostgresStore
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


class PostgresStores:
    """One after the other has the same database: a new one and its tables take ten times as long."""

    def __init__(self, server: postgres_server.Server) -> None:
        self._databases = Databases(server, None)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[str]:
        """The URL of a database with an empty state."""
        url = self._databases.take()
        if not self._databases.is_known(url):
            async with at(url):
                pass
        with self._databases.lent(url):
            yield url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SqlStore]:
        async with self.lent() as url, at(url) as store:
            yield store


class Databases:
    """Databases that are used again: each gets back the content that its schema had when it was lent first.

    Whoever has one may change its rows, not its tables.
    """

    def __init__(self, server: postgres_server.Server, template: str | None) -> None:
        self._server, self._template = server, template
        self._free, self._known = list[str](), set[str]()

    def take(self) -> str:
        """The URL of one that nobody has."""
        return self._free.pop() if self._free else made(self._server, self._template)

    def is_known(self, url: str) -> bool:
        return url in self._known

    @contextmanager
    def lent(self, url: str) -> Iterator[str]:
        """One that was taken; after a failure nobody gets it again."""
        if url not in self._known:
            self._server.execute(KEEP, url=url)
            self._known.add(url)
        yield url
        self._server.execute(RESTORE, url=url)
        self._free.append(url)


KEEP = """
DO $$ DECLARE t name; BEGIN
    CREATE SCHEMA kept;
    CREATE TABLE kept.kept_numbers AS
        SELECT sequencename AS name, last_value FROM pg_sequences WHERE schemaname = 'lume';
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'lume' LOOP
        EXECUTE format('CREATE TABLE kept.%1$I AS TABLE lume.%1$I', t);
    END LOOP;
END $$"""
RESTORE = """
DO $$ DECLARE t name; BEGIN
    PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica;  -- no triggers
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'lume' LOOP
        EXECUTE format('DELETE FROM lume.%I', t);
        EXECUTE format('INSERT INTO lume.%1$I SELECT * FROM kept.%1$I', t);
    END LOOP;
    PERFORM setval(format('lume.%I', name)::regclass, coalesce(last_value, 1), last_value IS NOT NULL)
        FROM kept.kept_numbers;
END $$"""


@asynccontextmanager
async def at(url: str) -> AsyncIterator[SqlStore]:
    """The store in a database, which may be empty; without a lease."""
    connection = await postgres_state._prepared(url)
    try:
        with postgres_state._explained():
            store_id, offset = await postgres_state._migrate(connection)
    finally:
        await connection.close()
    async with connections(url) as pool:
        yield PostgresStore(pool, store_id, offset)


@contextmanager
def database(server: postgres_server.Server, template: str | None = None) -> Iterator[str]:
    """The URL of a new database, as long as the block lasts."""
    url = made(server, template)
    try:
        yield url
    finally:
        server.execute_outside(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")


def made(server: postgres_server.Server, template: str | None) -> str:
    """The URL of a new database, which has what the template has; an empty one sorts texts as English does."""
    name, of = f"t{uuid.uuid4().hex}", "TEMPLATE template1"
    if template is not None:
        of = f"TEMPLATE {urlsplit(template).path.strip('/')}"
    elif int(server.execute("SHOW server_version_num")[0][0]) >= 150000:
        of = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
    server.execute_outside(f"CREATE DATABASE {name} {of}")
    return urlsplit(server.url)._replace(path=f"/{name}").geturl()
