"""The state in one SQLite file.

What a power cut may lose, and why no run is lost or repeated:

- the creation and end of a run are durable before they have effects: `settled` is awaited before the response to the
  submission, the start of the run, the notice of its end and the removal of its folder;
- stages are not made durable separately. A run whose stages were lost is CREATED again. Its folder survives the power
  cut and shows whether it had committed: if so, the commit is carried out; otherwise the run had no effect yet.

`kill -9` loses nothing: the operating system already has committed transactions.
"""

from pathlib import Path

import anyio

from lume_local._runs.health import Health, why
from lume_local._runs.sql.beside_runs import SqlDeliveries
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.feed import SqliteFeed
from lume_local._runs.sqlite.sqlite_sql import SqliteSql
from lume_local._runs.sqlite.state_file import open_state
from lume_local._runs.store.records import StoreFailed

WATCH = 1.0
"""Seconds between two attempts to write."""
_WHERE = "the state file"


class SolePublishing:
    """Exclusive use of the state file, by a lock that ends with the server's process."""

    is_shared = False

    async def allow(self, run_id: str) -> bool:
        return True

    async def is_allowed(self, run_id: str) -> bool:
        return True

    async def check(self) -> None:
        pass


class SqliteStore(SqlStore):
    """The state of one data folder. Close it. It takes the arguments of `open_state`."""

    kind = "sqlite"

    def __init__(self, path: Path, outputs: Path | None = None) -> None:
        self._db = open_state(path, outputs)
        self._durability = Durability(path)
        sql = SqliteSql(self._db, self._durability)
        row = self._db.execute("SELECT value FROM facts WHERE name = 'store_id'").fetchone()
        super().__init__(sql, SqliteFeed(sql), row[0], SolePublishing(), SqlDeliveries(sql))

    async def watch(self, health: Health) -> None:
        """Report whether the state can be written, until cancelled."""
        while True:
            try:
                await self.sql.write(_nothing)
            except StoreFailed as error:
                health.trouble(_WHERE, why(error))
            else:
                health.works(_WHERE)
            await anyio.sleep(WATCH)

    def close(self) -> None:
        self._durability.close()
        self._db.close()


async def _nothing() -> None:
    pass
