"""Notices without a message yet, and the states needed to make messages."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Collection, Mapping, Sequence

from lume_local._runs.sql.beside_runs import SqlDeliveries
from lume_local._runs.sql.operation import Sql, marks, statement, writing
from lume_local._runs.store.records import MessageState, NewDelivery, StoredNotice


class SqlMessages:
    def __init__(self, sql: Sql, deliveries: SqlDeliveries) -> None:
        self.sql, self._deliveries = sql, deliveries

    async def add(self, notice: bytes) -> None:
        """Add a notice, as part of a transaction."""
        await self.sql.change("INSERT INTO notices (body) VALUES (?)", [notice])

    @statement
    async def notices(self, limit: int) -> list[StoredNotice]:
        """Return the oldest notices."""
        rows = await self.sql.rows("SELECT seq, body FROM notices ORDER BY seq LIMIT ?", [limit])
        return [StoredNotice(*row) for row in rows]

    @statement
    async def states(self, keys: Collection[str]) -> dict[str, MessageState]:
        """Return the states of these keys; keys without one are omitted."""
        return {one.key: one for one in await self._found(f"key IN ({marks(keys)})", *keys)}

    @statement
    async def due(self, now: float, limit: int) -> list[MessageState]:
        """Return the states that are due at that time, in seconds since 1970."""
        return await self._found("due <= ? ORDER BY due LIMIT ?", now, limit)

    async def _found(self, where: str, *values: object) -> list[MessageState]:
        rows = await self.sql.rows(f"SELECT key, state, due, rev FROM message_states WHERE {where}", values)
        return [MessageState(*row) for row in rows]

    @statement
    async def next_due(self) -> float | None:
        """Return when the next state is due; None if none ever is."""
        found: float | None
        (found,) = await self.sql.one("SELECT min(due) FROM message_states WHERE due IS NOT NULL")
        return found

    @writing
    async def decided(
        self,
        notices: Sequence[int],
        before: Mapping[str, int],
        after: Collection[MessageState],
        deliveries: Sequence[NewDelivery],
    ) -> bool:
        """Remove notices, change states and add deliveries in one change; return False if another server was first.

        Args:
            notices: the sequence numbers of the considered notices; all must still exist.
            before: the `rev` of each changed state, 0 if there was none; each must be unchanged.
            after: the changed states; one with an empty `state` is removed.
        """
        await self.sql.lock("messages")
        if not await self._is_still_so(notices, before):
            return False
        await self.sql.change(f"DELETE FROM notices WHERE seq IN ({marks(notices)})", notices)
        for one in after:
            await self._change(one)
        for new in deliveries:
            await self._deliveries.add_new("message", new)
        self.sql.must_last()
        return True

    async def _is_still_so(self, notices: Sequence[int], before: Mapping[str, int]) -> bool:
        query = f"SELECT count(*) FROM notices WHERE seq IN ({marks(notices)})"
        (left,) = await self.sql.one(query, notices)
        now = {one.key: one.rev for one in await self._found(f"key IN ({marks(before)})", *before)}
        return left == len(notices) and dict.fromkeys(before, 0) | now == before

    async def _change(self, one: MessageState) -> None:
        if not one.state:
            await self.sql.change("DELETE FROM message_states WHERE key = ?", [one.key])
            return
        await self.sql.change(
            "INSERT INTO message_states (key, rev, state, due) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET rev = excluded.rev, state = excluded.state, due = excluded.due",
            [one.key, one.rev + 1, one.state, one.due],
        )
