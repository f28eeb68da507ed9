"""The outbox: webhooks and lineage events that are due or completed, in the same file as the runs."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
import uuid

from lume_local._runs.records import Attempted, PendingDelivery
from lume_local._runs.sqlite.operation import operation
from lume_local._runs.times import now_text

_WEBHOOK, _LINEAGE = "dlv_", "lin_"
"""The kinds of deliveries, by the prefix of their id."""


class SqliteDeliveries:
    """The outbox of one state file. A row is settled, delivered or abandoned, once its `due` is NULL."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, run_id: str, body: bytes, due: float) -> None:
        """Add a delivery, if the run has a webhook; part of the transaction that ends the run."""
        self._db.execute(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) "
            "SELECT ?, run_id, webhook_url, ?, 0, ?, ? FROM runs WHERE run_id = ? AND webhook_url IS NOT NULL",
            [f"{_WEBHOOK}{uuid.uuid4().hex}", body, due, now_text(), run_id],
        )

    def add_lineage(self, run_id: str, body: bytes, due: float) -> None:
        """Add an OpenLineage event; part of the transaction of the change that it reports."""
        self._db.execute(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) VALUES (?, ?, '', ?, 0, ?, ?)",
            [f"{_LINEAGE}{uuid.uuid4().hex}", run_id, body, due, now_text()],
        )

    @operation
    def waiting(self, limit: int, *, webhooks: bool = True, lineage: bool = True) -> list[PendingDelivery]:
        """Pending deliveries of the kinds that can be sent, in the order in which they are due."""
        kinds = [kind for kind, wanted in ((_WEBHOOK, webhooks), (_LINEAGE, lineage)) if wanted]
        rows = self._db.execute(
            "SELECT id, run_id, url, body, attempts, due, traceparent FROM deliveries "
            "LEFT JOIN traces USING (run_id) WHERE due IS NOT NULL "
            f"AND substr(id, 1, 4) IN ({', '.join('?' * len(kinds))}) ORDER BY due LIMIT ?",
            [*kinds, limit],
        )
        return [PendingDelivery(**dict(row), is_lineage=row["id"].startswith(_LINEAGE)) for row in rows]

    @operation
    def of_run(self, run_id: str) -> list[Attempted]:
        """The webhooks of a run, oldest first; settled ones until they are deleted."""
        rows = self._db.execute(
            "SELECT id, url, attempts, due, delivered_at, error, at FROM deliveries "
            f"WHERE run_id = ? AND id LIKE '{_WEBHOOK}%' ORDER BY at",
            [run_id],
        )
        return [Attempted(*row) for row in rows]

    @operation
    def pending(self) -> int:
        """How many are neither delivered nor abandoned."""
        count: int = self._db.execute("SELECT count(*) FROM deliveries WHERE due IS NOT NULL").fetchone()[0]
        return count

    @operation
    def delivered(self, delivery_id: str) -> None:
        """The receiver has accepted it."""
        self._db.execute(
            "UPDATE deliveries SET attempts = attempts + 1, due = NULL, delivered_at = ?, error = NULL "
            "WHERE id = ?",
            [now_text(), delivery_id],
        )

    @operation
    def failed(self, delivery_id: str, error: str, due: float | None) -> None:
        """An attempt has failed; the next is due at that time, None abandons the delivery."""
        self._db.execute(
            "UPDATE deliveries SET attempts = attempts + 1, due = ?, error = ? WHERE id = ?",
            [due, error, delivery_id],
        )

    def forget(self, before: str, limit: int) -> int:
        """Delete settled deliveries from before a time, as part of a transaction; how many were deleted."""
        old = "SELECT id FROM deliveries WHERE due IS NULL AND at < ? LIMIT ?"
        return self._db.execute(f"DELETE FROM deliveries WHERE id IN ({old})", [before, limit]).rowcount
