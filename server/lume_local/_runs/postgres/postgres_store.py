"""The state in PostgreSQL.

Every commit is durable before it is shown (`synchronous_commit`, set by the operator). The unique indexes enforce the
rule "one success, one attempt at a time" between any number of servers.
"""

from psycopg_pool import AsyncConnectionPool

from lume_local._runs.postgres.lease import STANDBY
from lume_local._runs.postgres.postgres_feed import PostgresFeed
from lume_local._runs.postgres.postgres_sql import Connection, PostgresSql
from lume_local._runs.sql.beside_runs import KIND, RECEIVERS, SqlDeliveries
from lume_local._runs.sql.operation import Sql, statement, writing
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import RECEIVER
from lume_local._runs.store.records import ACTIVE, WaitingServer

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


class FencedPublishing:
    """Publishing by the holder of the lease: every write of another server is refused, including this one."""

    is_shared = True

    def __init__(self, sql: Sql) -> None:
        self.sql = sql

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
