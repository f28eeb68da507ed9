"""The state in one SQLite file.

What a power cut may lose, and why no run is lost or repeated:
- the creation and end of a run are durable before they have effects: `settled` is awaited before the response to the
  submission, the start of the run, the notice of its end and the removal of its folder;
- stages are not made durable separately. A run whose stages were lost is CREATED again. Its folder survives the power
  cut and says whether it had committed: then the commit is carried out, else the run had no effect yet.

`kill -9` loses nothing: committed transactions are with the operating system.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio

from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.feed import SqliteFeed
from lume_local._runs.sqlite.sole_publishing import SolePublishing
from lume_local._runs.sqlite.sqlite_sql import SqliteSql
from lume_local._runs.sqlite.state_file import open_state


class SqliteStore(SqlStore):
    """The state of one data folder, as a `store.Store`. Close it. The arguments are those of `open_state`."""

    kind, form = "sqlite", VERSION

    def __init__(self, path: Path, outputs: Path | None = None) -> None:
        self._db = open_state(path, outputs)
        self._durability = Durability(path)
        sql = SqliteSql(self._db, self._durability)
        row = self._db.execute("SELECT value FROM facts WHERE name = 'store_id'").fetchone()
        super().__init__(sql, SqliteFeed(sql), row[0])
        self.publishing = SolePublishing()
        self._submissions = anyio.Lock(fast_acquire=True)

    async def settled(self) -> None:
        await self._durability.settled()

    async def follow(self, visible: Callable[[], None]) -> None:
        """A change is visible once it is made."""

    def submissions_paused(self) -> AbstractAsyncContextManager[None]:
        return self._submissions

    def _submitting(self) -> AbstractAsyncContextManager[None]:
        return self._submissions

    def close(self) -> None:
        self._durability.close()
        self._db.close()
