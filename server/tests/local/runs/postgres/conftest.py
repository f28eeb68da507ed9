from collections.abc import AsyncIterator, Iterator

import postgres_server
import pytest
from local import stores

from lume_local._runs.sql.sql_store import SqlStore


@pytest.fixture
async def url(in_postgresql: stores.PostgresStores) -> AsyncIterator[str]:
    """A database with an empty state: whoever has it may change its rows, not its tables."""
    async with in_postgresql.lent() as url:
        yield url


@pytest.fixture
def new_url(postgres: postgres_server.Server) -> Iterator[str]:
    """An empty database of its own."""
    with stores.database(postgres) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with stores.at(url) as store:
        yield store
