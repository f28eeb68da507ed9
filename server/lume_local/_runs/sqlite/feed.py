"""The feed of status changes in the state file, which numbers them as they become visible."""

from collections.abc import Callable

from lume_local._runs.sql.operation import Sql
from lume_local._runs.store.records import Cursor, CursorForgotten, StatusChange
from lume_local._runs.times import now_text

CHANGES = """
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    finished_at TEXT,
    at TEXT NOT NULL
) STRICT;
"""
"""The table of changes."""


class SqliteFeed:
    """See `variants.Feed`."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        query = "INSERT INTO changes (run_id, status, finished_at, at) VALUES (?, ?, ?, ?)"
        await self._sql.change(query, [run_id, status, finished_at, now_text()])

    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        if after < Cursor(0, await self._forgotten()):
            raise CursorForgotten
        query = "SELECT run_id, status, finished_at, seq FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = await self._sql.rows(query, [after.seq, limit])
        changes = [StatusChange(row[0], row[1], row[2]) for row in rows]
        return changes, Cursor(0, rows[-1]["seq"]) if rows else after

    async def newest(self) -> Cursor:
        newest: int
        (newest,) = await self._sql.one("SELECT coalesce(max(seq), 0) FROM changes")
        return Cursor(0, max(newest, await self._forgotten()))

    async def _forgotten(self) -> int:
        """Return the number of the newest deleted change, 0 if there is none."""
        row = await self._sql.row("SELECT value FROM facts WHERE name = 'forgotten_change'")
        return int(row[0]) if row else 0

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

    async def follow(self, visible: Callable[[], None]) -> None:
        """Do nothing: a change is visible once it is made."""
