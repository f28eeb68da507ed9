"""The state in PostgreSQL.

Every commit is durable before it is shown (`synchronous_commit`, which the operator decides). The unique indexes hold
the rule "one success, one attempt at a time" between any number of servers.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from psycopg_pool import AsyncConnectionPool

from lume_local._runs.postgres.feed_reader import FeedReader
from lume_local._runs.postgres.fenced_publishing import FencedPublishing
from lume_local._runs.postgres.pauses import Pauses
from lume_local._runs.postgres.postgres_deliveries import PostgresDeliveries
from lume_local._runs.postgres.postgres_feed import PostgresFeed
from lume_local._runs.postgres.postgres_sql import Connection, PostgresSql
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import VERSION


class PostgresStore(SqlStore):
    """As a `store.Store`."""

    kind, form = "postgresql", VERSION

    def __init__(
        self, pool: AsyncConnectionPool[Connection], store_id: str, offset: int = 0, fence: int | None = None
    ) -> None:
        sql = PostgresSql(pool, fence)
        feed = PostgresFeed(sql, offset)
        super().__init__(sql, feed, store_id)
        self._reader = FeedReader(self.newest)
        feed.on_note = self._reader.written
        self.deliveries = PostgresDeliveries(sql)
        self.publishing = FencedPublishing(sql)
        self._pauses = Pauses()

    async def settled(self) -> None:
        """What is committed survives already."""

    async def follow(self, visible: Callable[[], None]) -> None:
        await self._reader.follow(visible)

    def submissions_paused(self) -> AbstractAsyncContextManager[None]:
        return self._pauses.paused()

    def _submitting(self) -> AbstractAsyncContextManager[None]:
        return self._pauses.submitting()
