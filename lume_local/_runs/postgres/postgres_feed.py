"""The feed of status changes in PostgreSQL.

A change is numbered before it is visible. So the feed is in the order of (transaction, number), and ends before the
oldest transaction that is still open: a change that becomes visible later comes after all that were returned.

Those who wait for the feed have looked by then, and are woken again (`follow`): one task does it for all of them. It
is told of writes (a hint), and looks every now and then (the truth).
"""

from collections.abc import Callable

import anyio

from lume_local._runs.sql.operation import Sql
from lume_local._runs.store.records import Cursor, CursorForgotten, StatusChange, StoreFailed
from lume_local._runs.times import now_text

FIRST, LONGEST = 0.01, 0.5
"""Seconds between two looks, doubled as long as the last change that this server made is not visible."""


_ENDED = "xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {}"


class PostgresFeed:
    """See `variants.Feed`.

    Args:
        offset: added to the numbers of transactions, which begin anew if a database is restored elsewhere.
    """

    def __init__(self, sql: Sql, offset: int) -> None:
        self._sql, self._offset, self._ended = sql, offset, _ENDED.format(offset)
        self._last = Cursor(0, 0)
        """The last change that this server makes; it may be undone."""
        self._more = anyio.Event()

    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        row = await self._sql.one(
            "INSERT INTO changes (xid, run_id, status, finished_at, at) "
            "VALUES (pg_current_xact_id()::text::bigint + ?, ?, ?, ?, ?) RETURNING xid, seq",
            [self._offset, run_id, status, finished_at, now_text()],
        )
        self._last = max(self._last, Cursor(row[0], row[1]))
        self._more.set()

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

    async def follow(self, visible: Callable[[], None]) -> None:
        seen, pause = Cursor(0, 0), FIRST
        while True:
            self._more = anyio.Event()
            try:
                newest = await self._sql.read(self.newest)
            except StoreFailed:  # reported by those who need the state
                newest = seen
            if newest > seen:
                seen, pause = newest, FIRST
                visible()
            pause = LONGEST if seen >= self._last else min(2 * pause, LONGEST)
            with anyio.move_on_after(pause):
                await (self._more.wait() if pause == LONGEST else anyio.sleep(LONGEST))
