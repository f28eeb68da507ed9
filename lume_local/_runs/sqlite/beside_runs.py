"""What is kept beside the runs: deliveries that are due or completed, the identities of sources and outputs."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import json
import sqlite3
import uuid
from collections.abc import Collection

from lume_local._runs.records import KINDS, VARIABLE, Attempted, NewDelivery, PendingDelivery
from lume_local._runs.sqlite.ledger_entries import LedgerEntries
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.sqlite.schema import RECEIVER
from lume_local._runs.sqlite.sqlite_purge import look_again
from lume_local._runs.times import now_text
from lume_local._shared.identity import SourceContent

_PREFIXES = {"webhook": "dlv_", "lineage": "lin_", "message": "msg_"}
"""What the ids of deliveries begin with, by kind."""
_KINDS = {prefix: kind for kind, prefix in _PREFIXES.items()}
_KIND = f"CASE WHEN receiver = '' THEN 'lineage' WHEN receiver LIKE '{VARIABLE}%' THEN 'message' ELSE 'webhook' END"
"""The kind of all deliveries for a receiver."""
_FIRST_OF_EACH = f"""
WITH RECURSIVE receivers (receiver) AS (
    SELECT min({RECEIVER}) FROM deliveries WHERE due IS NOT NULL
    UNION ALL
    SELECT (SELECT min({RECEIVER}) FROM deliveries WHERE due IS NOT NULL AND {RECEIVER} > receiver)
    FROM receivers WHERE receiver IS NOT NULL
)
SELECT id, run_id, url, attempts, due, traceparent FROM receivers
JOIN deliveries ON id IN (
    SELECT id FROM deliveries WHERE due IS NOT NULL AND {RECEIVER} = receiver ORDER BY due LIMIT ?1
)
LEFT JOIN traces USING (run_id)
WHERE {_KIND} IN (?2, ?3, ?4) ORDER BY due
"""
"""It steps from receiver to receiver in the index, so that a long queue for one of them costs the others nothing."""


class SqliteDeliveries:
    """The outbox of one state file. A row is settled, delivered or abandoned, once its `due` is NULL."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, run_id: str, body: bytes, due: float) -> None:
        """Add a delivery, if the run has a webhook; part of the transaction that ends the run."""
        self._db.execute(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) "
            "SELECT ?, run_id, webhook_url, ?, 0, ?, ? FROM runs WHERE run_id = ? AND webhook_url IS NOT NULL",
            [_new_id("webhook"), body, due, now_text(), run_id],
        )

    def add_lineage(self, run_id: str, body: bytes, due: float) -> None:
        """Add an OpenLineage event; part of the transaction of the change that it reports."""
        self._db.execute(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) VALUES (?, ?, '', ?, 0, ?, ?)",
            [_new_id("lineage"), run_id, body, due, now_text()],
        )

    def add_message(self, new: NewDelivery, due: float) -> None:
        """Add a message; part of the transaction that decides about it."""
        self._db.execute(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) VALUES (?, ?, ?, ?, 0, ?, ?)",
            [_new_id("message"), new.run_id, new.url, new.body, due, now_text()],
        )

    @operation
    def waiting(self, most: int, kinds: Collection[str] = KINDS) -> list[PendingDelivery]:
        wanted = [kind if kind in kinds else None for kind in KINDS]
        rows = self._db.execute(_FIRST_OF_EACH, [most, *wanted])
        return [PendingDelivery(**dict(row), kind=_KINDS[row["id"][:4]]) for row in rows]

    @operation
    def body(self, delivery_id: str) -> bytes:
        """The body of a pending delivery."""
        body: bytes
        (body,) = self._db.execute("SELECT body FROM deliveries WHERE id = ?", [delivery_id]).fetchone()
        return body

    @operation
    def of_run(self, run_id: str) -> list[Attempted]:
        rows = self._db.execute(
            "SELECT id, url, attempts, due, delivered_at, error, at FROM deliveries "
            "WHERE run_id = ? AND url != '' ORDER BY at",
            [run_id],
        )
        return [Attempted(*row) for row in rows]

    @operation
    def pending(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM deliveries WHERE due IS NOT NULL").fetchone()[0]
        return count

    @operation
    def delivered(self, delivery_id: str) -> None:
        self._db.execute(
            "UPDATE deliveries SET attempts = attempts + 1, due = NULL, delivered_at = ?, error = NULL "
            "WHERE id = ?",
            [now_text(), delivery_id],
        )

    @operation
    def failed(self, delivery_id: str, error: str, due: float | None) -> None:
        self._db.execute(
            "UPDATE deliveries SET attempts = attempts + 1, due = ?, error = ? WHERE id = ?",
            [due, error, delivery_id],
        )

    def forget(self, before: str, limit: int) -> int:
        """Delete settled deliveries from before a time, as part of a transaction; how many were deleted."""
        old = "SELECT id FROM deliveries WHERE due IS NULL AND at < ? LIMIT ?"
        return self._db.execute(f"DELETE FROM deliveries WHERE id IN ({old})", [before, limit]).rowcount


def _new_id(kind: str) -> str:
    return f"{_PREFIXES[kind]}{uuid.uuid4().hex}"


class SqliteOutputs:
    """The table `outputs`: for each run and part (`mapped`, `rejects`) the identity of its file."""

    def __init__(self, db: sqlite3.Connection, ledger: LedgerEntries) -> None:
        self._db, self._ledger = db, ledger

    def note(self, run_id: str, identities: dict[str, str]) -> None:
        """Store what a run has written; part of the transaction that ends the run."""
        rows = [(run_id, part, identity) for part, identity in identities.items()]
        self._db.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", rows)

    @operation
    def written_before(self, before: str, limit: int) -> list[tuple[str, str, str, str]]:
        query = (
            "SELECT run_id, part, identity, target_locations FROM outputs JOIN runs USING (run_id) "
            "WHERE identity != '' AND finished_at < ? "
            "AND coalesce(json_extract(target_locations, '$.' || part), '') NOT LIKE '__://%' LIMIT ?"
        )
        return [tuple(row) for row in self._db.execute(query, [before, limit])]

    @operation
    def forget(self, run_id: str, part: str) -> None:
        with transaction(self._db):
            self._db.execute("UPDATE outputs SET identity = '' WHERE run_id = ? AND part = ?", [run_id, part])
            look_again(self._db, "run_id = ?", [run_id])
            if part == "rejects":
                self._ledger.set_lost(run_id, is_lost=True)

    @operation
    def identity(self, run_id: str, part: str) -> str | None:
        query = "SELECT identity FROM outputs WHERE run_id = ? AND part = ?"
        row = self._db.execute(query, [run_id, part]).fetchone()
        return None if row is None else str(row[0])


class SqliteSources:
    """The table `sources`, and the columns in the metrics of runs."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self, run_id: str, content: SourceContent) -> None:
        """Store what a run has read; part of the transaction that ends the run."""
        values = [run_id, content.bytes, content.seen, content.digest]
        self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", values)

    @operation
    def read_by(self, run_id: str) -> SourceContent | None:
        query = "SELECT bytes, seen, digest FROM sources WHERE run_id = ?"
        row = self._db.execute(query, [run_id]).fetchone()
        return None if row is None else SourceContent(*row)

    @operation
    def last_header(self, flow_version: str) -> list[str] | None:
        query = (
            "SELECT metrics FROM runs WHERE flow_version = ? AND status IN ('SUCCEEDED', 'PARTIAL_FAILED') "
            "ORDER BY seq DESC LIMIT 1"
        )
        row = self._db.execute(query, [flow_version]).fetchone()
        found: list[str] | None = None if row is None else json.loads(row[0])["source"].get("header")
        return found
