"""The outbox of a state: deliveries, and for messages the notices and the state that their rules keep."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import time
import uuid
from collections.abc import Collection, Mapping, Sequence

from lume_local._runs.sql.operation import Sql, SqlPart, change_all, marks, statement, writing
from lume_local._runs.sql.run_rows import IS_LAST, flow_range
from lume_local._runs.sql.tables import RECEIVER
from lume_local._runs.store.records import (
    KINDS,
    VARIABLE,
    Attempted,
    MessageState,
    NewDelivery,
    PendingDelivery,
    StoredNotice,
)
from lume_local._runs.times import now_text

_PREFIXES = {"webhook": "dlv_", "lineage": "lin_", "message": "msg_"}
"""The prefixes of delivery ids, by kind."""
_KINDS = {prefix: kind for kind, prefix in _PREFIXES.items()}
KIND = f"CASE WHEN receiver = '' THEN 'lineage' WHEN receiver LIKE '{VARIABLE}%' THEN 'message' ELSE 'webhook' END"
"""The kind of all deliveries for a receiver."""
RECEIVERS = f"""
WITH RECURSIVE receivers (receiver) AS (
    SELECT min({RECEIVER}) FROM deliveries WHERE due IS NOT NULL
    UNION ALL
    SELECT (SELECT min({RECEIVER}) FROM deliveries WHERE due IS NOT NULL AND {RECEIVER} > receiver)
    FROM receivers WHERE receiver IS NOT NULL
)
"""
"""A query that steps from receiver to receiver in the index, so that a long queue of one does not slow the others."""
LISTED_ABOVE = 0.05
"""The console lists runs that have rejected a larger share of their rows."""


class SqlDeliveries(SqlPart):
    """The outbox of one state. A delivery is settled, delivered or abandoned, once its `due` is NULL."""

    first_of_each = f"""
    {RECEIVERS}
    SELECT id, run_id, url, attempts, due, traceparent FROM receivers
    JOIN deliveries ON id IN (
        SELECT id FROM deliveries WHERE due IS NOT NULL AND {RECEIVER} = receiver ORDER BY due LIMIT ?
    )
    LEFT JOIN traces USING (run_id)
    WHERE {KIND} IN (?, ?, ?) ORDER BY due
    """
    """A query for the first deliveries of each receiver, of up to three kinds."""

    async def add(self, kind: str, new: NewDelivery) -> None:
        """Add a delivery; part of the transaction of its subject."""
        await self.sql.change(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) VALUES (?, ?, ?, ?, 0, ?, ?)",
            [f"{_PREFIXES[kind]}{uuid.uuid4().hex}", new.run_id, new.url, new.body, time.time(), now_text()],
        )

    @statement
    async def waiting(self, most: int, kinds: Collection[str] = KINDS) -> list[PendingDelivery]:
        """Return the first pending deliveries of these kinds, at most `most` for each receiver, in due order."""
        wanted = [kind if kind in kinds else None for kind in KINDS]
        rows = await self.sql.rows(self.first_of_each, [most, *wanted])
        return [PendingDelivery(**dict(row), kind=_KINDS[row["id"][:4]]) for row in rows]

    @statement
    async def body(self, delivery_id: str) -> bytes:
        body: bytes
        (body,) = await self.sql.one("SELECT body FROM deliveries WHERE id = ?", [delivery_id])
        return body

    @statement
    async def of_run(self, run_id: str) -> list[Attempted]:
        """Return the webhooks and messages of a run, oldest first; settled ones until they are deleted."""
        rows = await self.sql.rows(
            "SELECT id, url, attempts, due, delivered_at, error, at FROM deliveries "
            "WHERE run_id = ? AND url != '' ORDER BY at",
            [run_id],
        )
        return [Attempted(*row) for row in rows]

    @statement
    async def pending(self) -> int:
        """Return how many are neither delivered nor abandoned."""
        count: int
        (count,) = await self.sql.one("SELECT count(*) FROM deliveries WHERE due IS NOT NULL")
        return count

    @writing
    async def delivered(self, delivery_id: str) -> None:
        """Record that the receiver has accepted it."""
        await self.sql.change(
            "UPDATE deliveries SET attempts = attempts + 1, due = NULL, delivered_at = ?, error = NULL "
            "WHERE id = ?",
            [now_text(), delivery_id],
        )

    @writing
    async def failed(self, delivery_id: str, error: str, due: float | None) -> None:
        """Record a failed attempt; the next is due at that time, None abandons the delivery."""
        await self.sql.change(
            "UPDATE deliveries SET attempts = attempts + 1, due = ?, error = ? WHERE id = ?",
            [due, error, delivery_id],
        )

    async def forget(self, before: str, limit: int) -> int:
        """Delete settled deliveries from before a time, within a transaction; return how many."""
        old = "SELECT id FROM deliveries WHERE due IS NULL AND at < ? ORDER BY at LIMIT ?"
        return await self.sql.changed(f"DELETE FROM deliveries WHERE id IN ({old})", [before, limit])


class SqlMessages:
    """Notices without a message yet, and the states needed to make messages."""

    def __init__(self, sql: Sql, deliveries: SqlDeliveries) -> None:
        self.sql, self._deliveries = sql, deliveries

    async def add(self, notice: bytes) -> None:
        """Add a notice, as part of a transaction."""
        await self.sql.change("INSERT INTO notices (body) VALUES (?)", [notice])

    @statement
    async def notices(self, limit: int) -> list[StoredNotice]:
        rows = await self.sql.rows("SELECT seq, body FROM notices ORDER BY seq LIMIT ?", [limit])
        return [StoredNotice(*row) for row in rows]

    @statement
    async def states(self, keys: Collection[str]) -> dict[str, MessageState]:
        """Return the states of these keys; keys without one are omitted."""
        return {one.key: one for one in await self._found(f"key IN ({marks(keys)})", *keys)}

    @statement
    async def waits(self, flow: str, arrivals: Collection[str]) -> bool:
        """Return whether something of a flow waits for a person: a run that the console lists, or a refused file.

        Args:
            arrivals: those that have refused a file of the flow.
        """
        listed = (
            "SELECT 1 FROM attention JOIN runs USING (seq) "
            f"WHERE attention.flow_version BETWEEN ? AND ? AND ratio > {LISTED_ABOVE} AND {IS_LAST}"
        )
        refused = f"SELECT 1 FROM arrival_refusals WHERE arrival IN ({marks(arrivals)})"
        query = f"SELECT EXISTS ({listed}) OR EXISTS ({refused})"
        return bool((await self.sql.one(query, [*flow_range(flow), *arrivals]))[0])

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
        these, keys = f"FROM notices WHERE seq IN ({marks(notices)})", f"key IN ({marks(before)})"
        (left,) = await self.sql.one(f"SELECT count(*) {these}", notices)
        now = {one.key: one.rev for one in await self._found(keys, *before)}
        if left < len(notices) or dict.fromkeys(before, 0) | now != before:
            return False
        await self.sql.change(f"DELETE {these}", notices)
        gone = [one.key for one in after if not one.state]
        await self.sql.change(f"DELETE FROM message_states WHERE key IN ({marks(gone)})", gone)
        await change_all(
            self.sql,
            "INSERT INTO message_states (key, rev, state, due) VALUES {} "
            "ON CONFLICT (key) DO UPDATE SET rev = excluded.rev, state = excluded.state, due = excluded.due",
            [(one.key, one.rev + 1, one.state, one.due) for one in after if one.state],
        )
        for new in deliveries:
            await self._deliveries.add("message", new)
        self.sql.must_last()
        return True
