"""The state in PostgreSQL.

Every commit is durable before it is shown (`synchronous_commit`, set by the operator). The unique indexes enforce the
rule "one success, one attempt at a time" between any number of servers.
"""

from collections.abc import Callable

import anyio
from psycopg_pool import AsyncConnectionPool

from lume_local._runs.postgres.lease import STANDBY
from lume_local._runs.postgres.postgres_sql import Connection, PostgresSql
from lume_local._runs.sql.operation import Feed, Publishing, SqlPart, statement, writing
from lume_local._runs.sql.sql_outbox import KIND, RECEIVERS, SqlDeliveries
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import RECEIVER
from lume_local._runs.store.records import (
    ACTIVE,
    Cursor,
    CursorForgotten,
    StatusChange,
    StoreFailed,
    WaitingServer,
)
from lume_local._runs.times import now_text

_FIRST_POLL, _LONGEST_POLL = 0.01, 0.5
"""Seconds between two polls, doubled while a change is made but not yet visible."""
_ENDED = "xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {}"

_STANDBYS = """
SELECT application_name, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, ?) ORDER BY 2
"""


class PostgresDeliveries(SqlDeliveries):
    """Deliveries that are found for each receiver by a lateral join, which SQLite lacks."""

    first_of_each = f"""
    {RECEIVERS}
    SELECT id, run_id, url, attempts, due, traceparent FROM receivers CROSS JOIN LATERAL (
        SELECT * FROM deliveries WHERE due IS NOT NULL AND {RECEIVER} = receiver ORDER BY due LIMIT ?
    ) AS first LEFT JOIN traces USING (run_id)
    WHERE {KIND} IN (?, ?, ?) ORDER BY due
    """  # noqa: S608 - constants


class PostgresFeed(Feed):
    """See `operation.Feed`.

    A change is numbered before it is visible. So the feed is ordered by (transaction, number), and ends before the
    oldest open transaction: a change that becomes visible later comes after all returned ones.

    Waiters have already read the feed by then, so one task wakes them again (`follow`). Writes trigger it (a hint),
    and it also polls regularly (the truth).

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
        seen, pause = Cursor(0, 0), _FIRST_POLL
        while True:
            self._more = anyio.Event()
            try:
                newest, made = await self._sql.single(self._ends)
            except StoreFailed:  # reported by callers that need the state
                newest = made = seen
            if newest > seen:
                seen, pause = newest, _FIRST_POLL
                visible()
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL)
            if newest >= made:
                pause = _FIRST_POLL
                with anyio.move_on_after(_LONGEST_POLL):
                    await self._more.wait()


class FencedPublishing(SqlPart, Publishing):
    """Publishing by the holder of the lease: every write of another server is refused, including this one."""

    is_shared = True

    @writing
    async def allow(self, run_id: str) -> bool:
        query = f"UPDATE runs SET is_published = true WHERE run_id = ? AND status IN {ACTIVE}"  # noqa: S608
        return await self.sql.changed(query, [run_id]) == 1

    @statement
    async def is_allowed(self, run_id: str) -> bool:
        row = await self.sql.row("SELECT is_published FROM runs WHERE run_id = ?", [run_id])
        return row is not None and bool(row[0])

    @writing
    async def check(self) -> None:
        """Check the fence, as every transaction that writes does."""


class PostgresStore(SqlStore):
    """The state over a pool of connections."""

    kind = "postgresql"

    def __init__(
        self, pool: AsyncConnectionPool[Connection], store_id: str, offset: int = 0, fence: int | None = None
    ) -> None:
        sql = PostgresSql(pool, fence)
        feed = PostgresFeed(sql, offset)
        super().__init__(sql, feed, store_id, FencedPublishing(sql), PostgresDeliveries(sql))

    @statement
    async def standbys(self) -> list[WaitingServer]:
        """Return the waiting servers by their connections, which end with them."""
        rows = await self.sql.rows(_STANDBYS, [f"{STANDBY} "])
        named = [(*row[0].removeprefix(f"{STANDBY} ").partition(" "), row[1]) for row in rows]
        return [WaitingServer(host, int(pid), since) for pid, _, host, since in named]
