"""The feed of status changes in PostgreSQL.

A change is numbered before it is visible. So the feed is in the order of (transaction, number), and ends before the
oldest transaction that is still open: a change that becomes visible later comes after all that were returned.
"""

from collections.abc import Callable

from lume_local._runs.sql.operation import Sql
from lume_local._runs.store.records import Cursor, CursorForgotten, StatusChange
from lume_local._runs.times import now_text

_ENDED = "xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {}"


class PostgresFeed:
    """See `sql_store.Feed`.

    Args:
        offset: added to the numbers of transactions, which begin anew if a database is restored elsewhere.
    """

    def __init__(self, sql: Sql, offset: int) -> None:
        self._sql, self._offset, self._ended = sql, offset, _ENDED.format(offset)
        self.on_note: Callable[[Cursor], None] = lambda change: None

    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        row = await self._sql.one(
            "INSERT INTO changes (xid, run_id, status, finished_at, at) "
            "VALUES (pg_current_xact_id()::text::bigint + ?, ?, ?, ?, ?) RETURNING xid, seq",
            [self._offset, run_id, status, finished_at, now_text()],
        )
        self.on_note(Cursor(row[0], row[1]))

    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        if after < await self._forgotten():
            raise CursorForgotten
        rows = await self._sql.rows(
            "SELECT run_id, status, finished_at, xid, seq FROM changes "  # noqa: S608 - constants
            f"WHERE (xid, seq) > (?, ?) AND {self._ended} ORDER BY xid, seq LIMIT ?",
            [after.transaction, after.seq, limit],
        )
        changes = [StatusChange(row[0], row[1], row[2]) for row in rows]
        return changes, Cursor(rows[-1]["xid"], rows[-1]["seq"]) if rows else after

    async def newest(self) -> Cursor:
        query = f"SELECT xid, seq FROM changes WHERE {self._ended} ORDER BY xid DESC, seq DESC LIMIT 1"  # noqa: S608
        row = await self._sql.row(query)
        newest = Cursor(0, 0) if row is None else Cursor(row[0], row[1])
        return max(newest, await self._forgotten())

    async def _forgotten(self) -> Cursor:
        """The newest deleted change."""
        row = await self._sql.row("SELECT value FROM facts WHERE name = 'forgotten_change'")
        return Cursor(0, 0) if row is None else Cursor(*map(int, row[0].split(".")))

    async def forget(self, before: str, limit: int) -> int:
        rows = await self._sql.rows(
            f"SELECT xid, seq, at FROM changes WHERE {self._ended} ORDER BY xid, seq LIMIT ?",  # noqa: S608
            [limit],
        )
        old = [Cursor(row[0], row[1]) for row in rows if row["at"] < before]
        if not old:
            return 0
        newest = old[-1]
        await self._sql.change(
            "INSERT INTO facts VALUES ('forgotten_change', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [f"{newest.transaction}.{newest.seq}"],
        )
        return await self._sql.change(
            "DELETE FROM changes WHERE (xid, seq) <= (?, ?)", [newest.transaction, newest.seq]
        )
