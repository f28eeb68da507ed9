"""Tables beside the runs: deliveries, identities of sources and outputs, follow-ups by people."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import json
import time
import uuid
from collections.abc import Collection

from lume_local._runs.sql.ledger_entries import LedgerEntries
from lume_local._runs.sql.operation import Sql, for_rows, reading, statement, writing
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.sql.sql_purge import look_again
from lume_local._runs.sql.tables import DONE, RECEIVER
from lume_local._runs.store.audit import DISMISS, Act
from lume_local._runs.store.records import KINDS, VARIABLE, Attempted, FollowUp, NewDelivery, PendingDelivery
from lume_local._runs.times import now_text
from lume_local._shared.identity import SourceContent

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
_NOTE_SOURCE = """
INSERT INTO sources VALUES (?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET bytes = excluded.bytes, seen = excluded.seen, digest = excluded.digest
"""


class SqlDeliveries:
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

    def __init__(self, sql: Sql) -> None:
        self.sql = sql

    async def add(self, run_id: str, body: bytes) -> None:
        """Add a delivery, if the run has a webhook; part of the transaction that ends the run."""
        await self.sql.change(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) "
            "SELECT ?, run_id, webhook_url, ?, 0, ?, ? FROM runs WHERE run_id = ? AND webhook_url IS NOT NULL",
            [_new_id("webhook"), body, time.time(), now_text(), run_id],
        )

    async def add_new(self, kind: str, new: NewDelivery) -> None:
        """Add a message or an OpenLineage event; part of the transaction of its subject."""
        await self.sql.change(
            "INSERT INTO deliveries (id, run_id, url, body, attempts, due, at) VALUES (?, ?, ?, ?, 0, ?, ?)",
            [_new_id(kind), new.run_id, new.url, new.body, time.time(), now_text()],
        )

    @statement
    async def waiting(self, most: int, kinds: Collection[str] = KINDS) -> list[PendingDelivery]:
        """Return the first pending deliveries of these kinds, at most `most` for each receiver, in due order."""
        wanted = [kind if kind in kinds else None for kind in KINDS]
        rows = await self.sql.rows(self.first_of_each, [most, *wanted])
        return [PendingDelivery(**dict(row), kind=_KINDS[row["id"][:4]]) for row in rows]

    @statement
    async def body(self, delivery_id: str) -> bytes:
        """Return the body of a pending delivery."""
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


def _new_id(kind: str) -> str:
    return f"{_PREFIXES[kind]}{uuid.uuid4().hex}"


class SqlOutputs:
    """The table `outputs`: for each run and part (`mapped`, `rejects`) the identity of its file."""

    def __init__(self, sql: Sql, ledger: LedgerEntries) -> None:
        self.sql, self._ledger = sql, ledger

    async def note(self, run_id: str, identities: dict[str, str]) -> None:
        """Store the outputs of a run; part of the transaction that ends the run."""
        rows = [(run_id, part, identity) for part, identity in identities.items()]
        query = "INSERT INTO outputs VALUES {} ON CONFLICT (run_id, part) DO UPDATE SET identity = excluded.identity"
        for one, values in for_rows(query, rows):
            await self.sql.change(one, values)

    @statement
    async def written_before(self, before: str, limit: int) -> list[tuple[str, str, str, str]]:
        """Return files of runs that ended before a time: run, part, identity, and the run's locations as JSON.

        Objects are omitted: the owner of an object store removes them.
        """
        query = (
            "SELECT run_id, part, identity, target_locations FROM outputs JOIN runs USING (run_id) "
            "WHERE identity != '' AND finished_at < ? "
            "AND coalesce(json_extract(target_locations, '$.' || part), '') NOT LIKE '__://%' LIMIT ?"
        )
        rows = await self.sql.rows(query, [before, limit])
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    @writing
    async def forget(self, run_id: str, part: str) -> int:
        """Record that the output is removed: a file there is another one. Return how many open rows are lost."""
        await self.sql.change(
            "UPDATE outputs SET identity = '' WHERE run_id = ? AND part = ?", [run_id, part]
        )
        await look_again(self.sql, "run_id = ?", [run_id])
        if part == "rejects":
            return await self._ledger.set_lost(run_id, is_lost=True)
        return 0

    @statement
    async def identity(self, run_id: str, part: str) -> str | None:
        """Return the identity of an output, empty once removed; None if it is not a file, such as table rows."""
        query = "SELECT identity FROM outputs WHERE run_id = ? AND part = ?"
        row = await self.sql.row(query, [run_id, part])
        return None if row is None else str(row[0])


class SqlSources:
    """The table `sources`, and the columns in the metrics of runs."""

    def __init__(self, sql: Sql) -> None:
        self.sql = sql

    async def note(self, run_id: str, content: SourceContent) -> None:
        """Store the source content of a run; part of the transaction that ends the run."""
        values = [run_id, content.bytes, content.seen, content.digest]
        await self.sql.change(_NOTE_SOURCE, values)

    @statement
    async def read_by(self, run_id: str) -> SourceContent | None:
        """Return the identity of the content that a run has read; None if it was not recorded."""
        query = "SELECT bytes, seen, digest FROM sources WHERE run_id = ?"
        row = await self.sql.row(query, [run_id])
        return None if row is None else SourceContent(*row)

    @statement
    async def last_header(self, flow_version: str) -> list[str] | None:
        """Return the columns read by the latest run with output; None if there is no such run or record."""
        query = f"SELECT metrics FROM runs WHERE flow_version = ? AND {DONE} ORDER BY seq DESC LIMIT 1"
        row = await self.sql.row(query, [flow_version])
        found: list[str] | None = None if row is None else json.loads(row[0])["source"].get("header")
        return found


_MOST = 100


class SqlAttention:
    """Follow-ups on runs: a run needs no more attention once its rejects are corrected or it is dismissed.

    Triggers keep that current in the same transaction as the runs (see `statistics` for the table `attention`).
    """

    def __init__(self, sql: Sql) -> None:
        self.sql = sql

    @writing
    async def dismiss(self, run_id: str, why: str, by: str) -> None:
        """Stop reminding people of this run; it can be resubmitted like any other."""
        await self.sql.change(
            "INSERT INTO dismissals VALUES (?, ?, ?) "
            "ON CONFLICT (run_id) DO UPDATE SET why = excluded.why, at = excluded.at",
            [run_id, why, now_text()],
        )
        await self.sql.change(
            "DELETE FROM attention WHERE seq = (SELECT seq FROM runs WHERE run_id = ?)", [run_id]
        )
        await self.sql.change("UPDATE runs SET rev = rev + 1 WHERE run_id = ?", [run_id])
        await add_act(self.sql, Act(by, DISMISS, run_id, {"why": why}))
        self.sql.must_last()

    @reading
    async def of(self, run_id: str) -> FollowUp:
        """Return the follow-ups on a run, and the run that it follows up itself."""
        parent = await self.sql.row("SELECT parent FROM mends WHERE run_id = ?", [run_id])
        mends = await self.sql.rows(
            "SELECT run_id FROM mends JOIN runs USING (run_id) WHERE parent = ? ORDER BY seq DESC LIMIT ?",
            [run_id, _MOST],
        )
        dismissed = await self.sql.row("SELECT why, at FROM dismissals WHERE run_id = ?", [run_id])
        return FollowUp(
            None if parent is None else parent[0],
            tuple(row[0] for row in mends),
            None if dismissed is None else dict(dismissed),
        )
