"""The feed of status changes in PostgreSQL.

A change is numbered before it is visible. So the feed is ordered by (transaction, number), and ends before the oldest
open transaction: a change that becomes visible later comes after all returned ones.

Waiters have already read the feed by then, so one task wakes them again (`follow`). Writes trigger it (a hint), and
it also polls regularly (the truth).
"""

from collections.abc import Callable

import anyio

from lume_local._runs.postgres.postgres_sql import PostgresSql
from lume_local._runs.store.records import Cursor, CursorForgotten, StatusChange, StoreFailed
from lume_local._runs.times import now_text

FIRST, LONGEST = 0.01, 0.5
"""Seconds between two polls, doubled while a change is made but not yet visible."""
_ENDED = "xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {}"


class PostgresFeed:
    """See `variants.Feed`.

    Args:
        offset: added to the numbers of transactions, which begin anew if a database is restored elsewhere.
    """

    def __init__(self, sql: PostgresSql, offset: int) -> None:
        self._sql, self._offset, self._ended = sql, offset, _ENDED.format(offset)
        self._more = anyio.Event()
        sql.on_written = lambda: self._more.set()

    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        await self._sql.change(
            "INSERT INTO changes (xid, run_id, status, finished_at, at) "
            "VALUES (pg_current_xact_id()::text::bigint + ?, ?, ?, ?, ?)",
            [self._offset, run_id, status, finished_at, now_text()],
        )

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

    async def _ends(self) -> tuple[Cursor, Cursor]:
        """Return the newest change in the feed, and the newest that was made."""
        newest = "SELECT xid, seq FROM changes WHERE {} ORDER BY xid DESC, seq DESC LIMIT 1"
        made, visible = newest.format("true"), newest.format(self._ended)
        row = await self._sql.row(
            f"SELECT * FROM ({made}) AS made LEFT JOIN ({visible}) AS visible ON true"  # noqa: S608 - constants
        )
        places = [0] * 4 if row is None else [place or 0 for place in row]
        return Cursor(*places[2:]), Cursor(*places[:2])

    async def _forgotten(self) -> Cursor:
        """Return the newest deleted change."""
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
        return await self._sql.changed(
            "DELETE FROM changes WHERE (xid, seq) <= (?, ?)", [newest.transaction, newest.seq]
        )

    async def follow(self, visible: Callable[[], None]) -> None:
        seen, pause = Cursor(0, 0), FIRST
        while True:
            self._more = anyio.Event()
            try:
                newest, made = await self._sql.single(self._ends)
            except StoreFailed:  # reported by callers that need the state
                newest = made = seen
            if newest > seen:
                seen, pause = newest, FIRST
                visible()
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST)
            if newest >= made:
                pause = FIRST
                with anyio.move_on_after(LONGEST):
                    await self._more.wait()
