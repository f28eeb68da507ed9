"""Notices and what messages remember, in one state file (see `_runs.store.Messages`)."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence

from lume_local._runs.records import MessageState, NewDelivery, StoredNotice
from lume_local._runs.sqlite.beside_runs import SqliteDeliveries
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.operation import operation, transaction


class SqliteMessages:
    def __init__(self, db: sqlite3.Connection, deliveries: SqliteDeliveries, durability: Durability) -> None:
        self._db, self._deliveries, self._durability = db, deliveries, durability

    def add(self, notice: bytes) -> None:
        """Add a notice, as part of a transaction."""
        self._db.execute("INSERT INTO notices (body) VALUES (?)", [notice])

    @operation
    def note(self, notice: bytes) -> None:
        self.add(notice)
        self._durability.wanted()

    @operation
    def notices(self, limit: int) -> list[StoredNotice]:
        rows = self._db.execute("SELECT seq, body FROM notices ORDER BY seq LIMIT ?", [limit])
        return [StoredNotice(*row) for row in rows]

    @operation
    def states(self, keys: Collection[str]) -> dict[str, MessageState]:
        return {one.key: one for key in keys for one in self._found("key = ?", key)}

    @operation
    def due(self, now: float, limit: int) -> list[MessageState]:
        return self._found("due <= ? ORDER BY due LIMIT ?", now, limit)

    def _found(self, where: str, *values: object) -> list[MessageState]:
        rows = self._db.execute(f"SELECT key, state, due, rev FROM message_states WHERE {where}", values)
        return [MessageState(*row) for row in rows]

    @operation
    def next_due(self) -> float | None:
        found: float | None
        (found,) = self._db.execute("SELECT min(due) FROM message_states WHERE due IS NOT NULL").fetchone()
        return found

    @operation
    def decided(
        self,
        notices: Sequence[int],
        before: Mapping[str, int],
        after: Collection[MessageState],
        deliveries: Sequence[NewDelivery],
    ) -> bool:
        with transaction(self._db):
            if not self._is_still_so(notices, before):
                return False
            self._db.executemany("DELETE FROM notices WHERE seq = ?", [[seq] for seq in notices])
            for one in after:
                self._change(one)
            for new in deliveries:
                self._deliveries.add_message(new, time.time())
        self._durability.wanted()
        return True

    def _is_still_so(self, notices: Sequence[int], before: Mapping[str, int]) -> bool:
        found = (self._db.execute("SELECT 1 FROM notices WHERE seq = ?", [seq]).fetchone() for seq in notices)
        if any(row is None for row in found):
            return False
        now = {key: (self._found("key = ?", key) or [MessageState(key, "")])[0].rev for key in before}
        return now == before

    def _change(self, one: MessageState) -> None:
        if not one.state:
            self._db.execute("DELETE FROM message_states WHERE key = ?", [one.key])
            return
        self._db.execute(
            "INSERT INTO message_states (key, rev, state, due) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET rev = excluded.rev, state = excluded.state, due = excluded.due",
            [one.key, one.rev + 1, one.state, one.due],
        )
