"""The state in one SQLite file.

What a power cut may lose, and why no run is lost or repeated:

- the creation and end of a run are durable before they have effects: `settled` is awaited before the response to the
  submission, the start of the run, the notice of its end and the removal of its folder;
- stages are not made durable separately. A run whose stages were lost is CREATED again. Its folder survives the power
  cut and shows whether it had committed: if so, the commit is carried out; otherwise the run had no effect yet.

`kill -9` loses nothing: the operating system already has committed transactions.
"""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from lume_local._runs.health import Health, why
from lume_local._runs.sql.operation import Feed, Publishing, Sql
from lume_local._runs.sql.sql_outbox import SqlDeliveries
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.backup import back_up
from lume_local._runs.sqlite.copies import fact
from lume_local._runs.sqlite.sqlite_sql import Durability, SqliteSql, failure
from lume_local._runs.sqlite.state_file import open_state
from lume_local._runs.store.records import Cursor, CursorForgotten, StatusChange, StoreFailed
from lume_local._runs.times import now_text

WATCH = 1.0
"""Seconds between two attempts to write."""
_LONGEST_WIPE = 60.0
"""Seconds that rewriting the state file waits for its readers and writers."""
_WHERE = "the state file"
_ENDS = """
SELECT coalesce((SELECT max(seq) FROM changes), 0),
    coalesce((SELECT value FROM facts WHERE name = 'forgotten_change'), 0)
"""


class SqliteFeed(Feed):
    """See `operation.Feed`. Changes are numbered as they become visible."""

    def __init__(self, sql: Sql, db: sqlite3.Connection) -> None:
        self._sql, self._db = sql, db
        self._seen, self._ends = -1, (0, 0)

    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        query = "INSERT INTO changes (run_id, status, finished_at, at) VALUES (?, ?, ?, ?)"
        await self._sql.change(query, [run_id, status, finished_at, now_text()])

    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        newest, forgotten = await self._looked()
        if after < Cursor(0, forgotten):
            raise CursorForgotten
        if after.seq >= newest:  # most polls end here
            return [], after
        query = "SELECT run_id, status, finished_at, seq FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = await self._sql.rows(query, [after.seq, limit])
        changes = [StatusChange(row[0], row[1], row[2]) for row in rows]
        return changes, Cursor(0, rows[-1]["seq"]) if rows else after

    async def newest(self) -> Cursor:
        return Cursor(0, max(await self._looked()))

    async def _looked(self) -> tuple[int, int]:
        """Return the numbers of the newest change and of the newest deleted one, 0 if there is none.

        They are read again after a write: only this connection writes, and counts the rows that it has changed. What
        reads them writes nothing, so that they never come from a transaction that is rolled back.
        """
        if self._seen != self._db.total_changes:
            newest, forgotten = await self._sql.one(_ENDS)
            self._seen, self._ends = self._db.total_changes, (newest, int(forgotten))
        return self._ends

    async def forget(self, before: str, limit: int) -> int:
        """Delete old changes, and record the one number that decides which cursors are too old."""
        oldest = "SELECT seq, at FROM changes ORDER BY seq LIMIT ?"
        query = f"SELECT max(seq) FROM ({oldest}) WHERE at < ?"  # noqa: S608 - constants
        newest: int | None
        (newest,) = await self._sql.one(query, [limit, before])
        if newest is None:
            return 0
        await self._sql.change("INSERT OR REPLACE INTO facts VALUES ('forgotten_change', ?)", [str(newest)])
        return await self._sql.changed("DELETE FROM changes WHERE seq <= ?", [newest])


class SqliteStore(SqlStore):
    """The state of one data folder. Close it. It takes the arguments of `open_state`."""

    kind = "sqlite"

    def __init__(self, path: Path, outputs: Path | None = None) -> None:
        self._path, self._db = path, open_state(path, outputs)
        self._durability = Durability(path)
        sql = SqliteSql(self._db, self._durability)
        feed, store_id = SqliteFeed(sql, self._db), fact(self._db, "store_id")
        super().__init__(sql, feed, store_id, Publishing(), SqlDeliveries(sql))

    async def watch(self, health: Health) -> None:
        """Report whether the state can be written, until cancelled."""
        while True:
            try:
                await self.sql.write(partial(self.sql.rows, "SELECT 1"))
            except StoreFailed as error:
                health.trouble(_WHERE, why(error))
            else:
                health.works(_WHERE)
            await anyio.sleep(WATCH)

    async def wipe(self) -> None:
        """Rewrite the file without free pages, empty its log, and replace its hourly copy. Raises `StoreFailed`."""
        await run_sync(self._wipe)

    def _wipe(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, timeout=_LONGEST_WIPE, isolation_level=None)) as db:
                db.execute("VACUUM")
                while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    pass  # it has waited until nobody reads
            back_up(self._path)
        except sqlite3.Error as error:
            raise failure(error) from error

    def close(self) -> None:
        self._durability.close()
        self._db.close()
