"""What becomes old in the state file: changes, idempotency keys and settled deliveries."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3

import orjson

from lume_local._runs.sqlite.beside_runs import SqliteDeliveries
from lume_local._runs.sqlite.sqlite_purge import look_again


def forget(db: sqlite3.Connection, deliveries: SqliteDeliveries, before: str, limit: int) -> int:
    """Delete what is from before a time, as part of a transaction; how many rows were deleted."""
    old = "SELECT key FROM idempotency_keys WHERE at < ? LIMIT ?"
    query = f"DELETE FROM idempotency_keys WHERE key IN ({old}) RETURNING run_id"
    runs = [row[0] for row in db.execute(query, [before, limit]).fetchall()]
    look_again(db, "run_id IN (SELECT value FROM json_each(?))", [orjson.dumps(runs).decode()])
    return len(runs) + _forget_changes(db, before, limit) + deliveries.forget(before, limit)


def _forget_changes(db: sqlite3.Connection, before: str, limit: int) -> int:
    """Delete without gaps, oldest first: so one number decides which cursors are too old."""
    oldest = "SELECT seq, at FROM changes ORDER BY seq LIMIT ?"
    query = f"SELECT max(seq) FROM ({oldest}) WHERE at < ?"
    newest: int | None = db.execute(query, [limit, before]).fetchone()[0]
    if newest is None:
        return 0
    db.execute("INSERT OR REPLACE INTO facts VALUES ('forgotten_change', ?)", [str(newest)])
    return db.execute("DELETE FROM changes WHERE seq <= ?", [newest]).rowcount


def forgotten(db: sqlite3.Connection) -> int:
    """The number of the newest deleted change, 0 if there is none."""
    row = db.execute("SELECT value FROM facts WHERE name = 'forgotten_change'").fetchone()
    return int(row[0]) if row else 0
