"""Publishing by the server that has the lease: every write of another one is refused, this one, too."""

from lume_local._runs.sql.operation import Sql, statement, writing
from lume_local._runs.store.records import ACTIVE


class FencedPublishing:
    """See `publishing.Publishing`."""

    is_shared = True

    def __init__(self, sql: Sql) -> None:
        self.sql = sql

    @writing
    async def allow(self, run_id: str) -> bool:
        query = f"UPDATE runs SET is_published = true WHERE run_id = ? AND status IN {ACTIVE}"  # noqa: S608
        return await self.sql.change(query, [run_id]) == 1

    @statement
    async def is_allowed(self, run_id: str) -> bool:
        row = await self.sql.row("SELECT is_published FROM runs WHERE run_id = ?", [run_id])
        return row is not None and bool(row[0])

    @writing
    async def check(self) -> None:
        """Every transaction that writes checks the fence."""
