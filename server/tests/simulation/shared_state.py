"""A state that several simulated servers share: the product's lease and fence over SQLite, without PostgreSQL.

`lume_local._runs.postgres.lease` is the real one; its few statements are carried out on a table of the same file. The
fence of a transaction, a function of PostgreSQL, is checked here as there: at the beginning, under the lock of all
writers. What PostgreSQL itself does is tested in `local/runs/test_several_servers.py`, with real servers.
"""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from lume_local._runs.health import Health
from lume_local._runs.postgres import lease
from lume_local._runs.postgres.postgres_store import FencedPublishing
from lume_local._runs.sources.work import claim
from lume_local._runs.sql.sql_outbox import SqlDeliveries
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.copies import fact
from lume_local._runs.sqlite.sqlite_sql import Durability, SqliteSql
from lume_local._runs.sqlite.sqlite_store import SqliteFeed
from lume_local._runs.store.records import StoreUnavailable
from lume_local._serve.settings import ServerSettings
from lume_local._serve.state import State

from .seams import current

if TYPE_CHECKING:
    from .world import World

T = TypeVar("T")


def prepare(path: Path) -> None:
    """Make a state of one server one that several share."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("ALTER TABLE runs ADD COLUMN is_published INTEGER NOT NULL DEFAULT 0")
        db.execute("CREATE TABLE lease (fence INTEGER NOT NULL, holder TEXT NOT NULL, until REAL NOT NULL)")
        db.execute("INSERT INTO lease VALUES (0, '', 0)")


class FencedSql(SqliteSql):
    """Operations that take their time, as over a network, and are refused after the lease was lost."""

    def __init__(self, db: sqlite3.Connection, durability: Durability, fence: int, world: "World") -> None:
        super().__init__(db, durability)
        self._fence, self._world, self._own = fence, world, db

    async def single(self, work: Callable[[], Awaitable[T]]) -> T:
        await anyio.sleep(self._world.latency())
        found = await super().single(work)
        await anyio.sleep(self._world.latency())
        return found

    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        async def fenced() -> T:
            if self._own.execute("SELECT 1 FROM lease WHERE fence = ?", [self._fence]).fetchone() is None:
                raise StoreUnavailable("another server has the state")
            return await work()

        await anyio.sleep(self._world.latency())
        found = await super().write(fenced)
        await anyio.sleep(self._world.latency())
        return found


class SharedStore(SqlStore):
    kind = "simulated"

    def __init__(self, path: Path, fence: int, world: "World") -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._durability = Durability(path)
        sql = FencedSql(self._db, self._durability, fence, world)
        feed, store_id = SqliteFeed(sql, self._db), fact(self._db, "store_id")
        super().__init__(sql, feed, store_id, FencedPublishing(sql), SqlDeliveries(sql))

    def close(self) -> None:
        self._durability.close()
        self._db.close()


@asynccontextmanager
async def shared(settings: ServerSettings, world: "World") -> AsyncIterator[State]:
    """Do what `_serve.state` does for PostgreSQL, once this server has the lease."""
    places, path = settings.places, world.state_file
    places.state.mkdir(parents=True, exist_ok=True)
    health = Health(places.data, lambda: None, places.state)
    connection: Any = Connection(path, world)
    try:
        process = current.get()
        assert process is not None
        fence = await lease.acquire(connection, "sim", process.pid, lambda holder: None)
        had = lease.Lease(str(path), fence, health)
        async with had.kept():
            store = SharedStore(path, fence, world)
            with closing(store):
                claim(places, store.store_id)
                yield State(store, health, lambda: had.is_lost)
    finally:
        await connection.close()


class Connection:
    """A connection of PostgreSQL that knows the statements of `lease` only."""

    def __init__(self, path: Path, world: "World") -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0)
        self._world = world

    async def execute(self, query: str, values: Sequence[Any] = ()) -> "Row":
        if not self._db.in_transaction:  # PostgreSQL ends one that is idle for long
            await anyio.sleep(self._world.latency())
        text = " ".join(query.split())
        for known, ours in STATEMENTS.items():
            if text.startswith(known):
                if ours == "":
                    return Row(self._db.execute("SELECT 1"))
                names = {"now": self._world.now(), **{f"v{n}": value for n, value in enumerate(values, 1)}}
                return Row(self._db.execute(ours, names))
        raise AssertionError(f"a statement of the lease that the simulation doesn't know: {text}")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:
                await anyio.sleep(0.01)
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    async def notifies(self, timeout: float, stop_after: int) -> AsyncGenerator[None]:
        del stop_after
        await anyio.sleep(timeout)
        return
        yield

    async def close(self) -> None:
        self._db.close()


class Row:
    """The part of a cursor that `lease` uses."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.rowcount = cursor.rowcount
        self._rows = cursor.fetchall()

    async def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None


STATEMENTS = {
    "LISTEN": "",
    "NOTIFY": "",
    "SELECT set_config": "",
    "RESET application_name": "",
    "SELECT pg_advisory_xact_lock": "",  # the transaction has the only lock of the file
    "SELECT holder, until::text FROM lease": "SELECT holder, CAST(until AS TEXT) FROM lease",
    "SELECT fence FROM lease WHERE until < clock_timestamp() OR until::text = $1": (
        "SELECT fence FROM lease WHERE until < :now OR CAST(until AS TEXT) = :v1"
    ),
    "UPDATE lease SET fence = fence + 1": (
        "UPDATE lease SET fence = fence + 1, holder = :v1, until = :now + :v2 RETURNING fence"
    ),
    "UPDATE lease SET until = clock_timestamp() +": "UPDATE lease SET until = :now + :v1 WHERE fence = :v2",
    "UPDATE lease SET until = '-infinity'": "UPDATE lease SET until = 0 WHERE fence = :v1",
}
"""The statements of `lease` by their beginnings, as SQLite spells them; empty for those without an effect here."""
