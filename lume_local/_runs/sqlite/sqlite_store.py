"""Runs, their changes, idempotency keys, the outbox and flow versions, in one SQLite file.

Operations run directly on the event loop (see `operation`): a read takes microseconds, a write does not wait for the
disk. The rule "one success, one attempt at a time" is a query inside the inserting transaction, with two unique
indexes in case the query is wrong.

What a power cut may lose, and why no run is lost or repeated:
- the creation and end of a run are durable before they have effects: `settled` is awaited before the response to the
  submission, the start of the run, the notice of its end and the removal of its folder;
- stages are not made durable separately. A run whose stages were lost is CREATED again. Its folder survives the power
  cut and says whether it had committed: then the commit is carried out, else the run had no effect yet.

`kill -9` loses nothing: committed transactions are with the operating system.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, compiled or quoted.
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson

from lume_local._runs.audit import Act, of_submission
from lume_local._runs.ledger import Claim
from lume_local._runs.records import (
    ACTIVE,
    Cursor,
    CursorForgotten,
    Duplicate,
    KeyReused,
    NewRun,
    RunFilter,
    StatusChange,
    StoredFlow,
    StoredRun,
)
from lume_local._runs.sources.source_key import batch_of
from lume_local._runs.sqlite import aging
from lume_local._runs.sqlite.attention import SqliteAttention
from lume_local._runs.sqlite.beside_runs import SqliteDeliveries, SqliteOutputs, SqliteSources
from lume_local._runs.sqlite.drafts import SqliteDrafts
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.listing import selected
from lume_local._runs.sqlite.messages import SqliteMessages
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.sqlite.run_rows import JSON_COLUMNS, RUN_COLUMNS, stored_run
from lume_local._runs.sqlite.schema import FLOW, VERSION
from lume_local._runs.sqlite.sqlite_arrivals import SqliteArrivals
from lume_local._runs.sqlite.sqlite_audit import SqliteAudit
from lume_local._runs.sqlite.sqlite_ledger import SqliteLedger
from lume_local._runs.sqlite.sqlite_purge import SqlitePurge, superseded
from lume_local._runs.sqlite.state_file import open_state
from lume_local._runs.sqlite.statistics import SqliteStatistics, flow_range
from lume_local._runs.times import now_text
from lume_local._shared.identity import SourceContent

_ACTIVE = f"status IN {ACTIVE}"
_WITH_OUTPUT = ("SUCCEEDED", "PARTIAL_FAILED")
_DONE = f"status IN {_WITH_OUTPUT}"


class SqliteStore:
    """The state of one data folder, as a `store.Store`. Close it. The arguments are those of `open_state`."""

    kind, form = "sqlite", VERSION

    def __init__(self, path: Path, outputs: Path | None = None) -> None:
        self._db = open_state(path, outputs)
        row = self._db.execute("SELECT value FROM facts WHERE name = 'store_id'").fetchone()
        self.store_id: str = row[0]
        self._durability = Durability(path)
        self.deliveries = SqliteDeliveries(self._db)
        self.audit = SqliteAudit(self._db, self._durability)
        self.sources = SqliteSources(self._db)
        self.statistics = SqliteStatistics(self._db)
        self.messages = SqliteMessages(self._db, self.deliveries, self._durability)
        self.attention = SqliteAttention(self._db, self._durability)
        self.arrivals = SqliteArrivals(self._db, self._durability)
        self.ledger = SqliteLedger(self._db, self._durability)
        self.drafts = SqliteDrafts(self._db, self._durability)
        self.purge = SqlitePurge(self._db)
        self.outputs = SqliteOutputs(self._db, self.ledger.entries)
        self._submissions = anyio.Lock(fast_acquire=True)

    async def settled(self) -> None:
        await self._durability.settled()

    @asynccontextmanager
    async def submissions_paused(self) -> AsyncIterator[None]:
        async with self._submissions:
            yield

    def close(self) -> None:
        self._durability.close()
        self._db.close()

    # -- runs

    async def create(self, new: NewRun, claims: Sequence[Claim] = ()) -> tuple[StoredRun, bool]:
        async with self._submissions:
            return await self._create(new, claims)

    @operation
    def _create(self, new: NewRun, claims: Sequence[Claim]) -> tuple[StoredRun, bool]:
        with transaction(self._db):
            earlier = self._run_of_key(new)
            if earlier is not None:
                return self._require(earlier), False
            self._refuse_duplicate(new)
            run_id = f"run_{uuid.uuid4().hex}"
            now = now_text()
            try:
                self._insert(new, run_id, now)
            except sqlite3.IntegrityError:
                self._refuse_duplicate(new)
                raise
            if new.idempotency_key is not None:
                values = [new.idempotency_key, new.fingerprint, run_id, now]
                self._db.execute("INSERT INTO idempotency_keys VALUES (?, ?, ?, ?)", values)
            self.ledger.entries.claim(run_id, claims)
            self.audit.add(of_submission(new, run_id, sum(claim.rows.bit_count() for claim in claims)))
            run = self._require(run_id)
            if new.arrived is not None:
                self.arrivals.add(new.arrived, run.seq)
        self._durability.wanted()
        return run, True

    def _run_of_key(self, new: NewRun) -> str | None:
        if new.idempotency_key is None:
            return None
        query = "SELECT fingerprint, run_id FROM idempotency_keys WHERE key = ?"
        row = self._db.execute(query, [new.idempotency_key]).fetchone()
        if row is None:
            return None
        if row["fingerprint"] != new.fingerprint:
            raise KeyReused
        run_id: str = row["run_id"]
        return run_id

    def _refuse_duplicate(self, new: NewRun) -> None:
        where = "flow_version = ? AND source_key = ?"
        values = [new.flow_version, new.source_key]
        query = f"SELECT run_id FROM runs WHERE {where} AND {_ACTIVE}"
        row = self._db.execute(query, values).fetchone()
        if row is not None:
            raise Duplicate(row["run_id"], is_active=True)
        if new.force_rerun:
            return
        query = f"SELECT run_id FROM runs WHERE {where} AND {_DONE} ORDER BY seq DESC LIMIT 1"
        row = self._db.execute(query, values).fetchone()
        if row is not None:
            raise Duplicate(row["run_id"], is_active=False)

    def _insert(self, new: NewRun, run_id: str, now: str) -> None:
        source = new.flow_version, new.source_path, new.source_key
        self._db.execute(
            "INSERT INTO runs (run_id, rev, flow_version, source_path, source_key, run_metadata, force_rerun, "
            "status, created_at, stages, metrics, target_locations, webhook_url, submitted_by, priority, turn) "
            "VALUES (?, 1, ?, ?, ?, ?, ?, 'CREATED', ?, '[]', '{}', '{}', ?, ?, ?, ?)",
            [
                *(run_id, *source, orjson.dumps(new.run_metadata).decode(), new.force_rerun, now),
                *(new.webhook_url, new.submitted_by, new.priority, self._turn(new)),
            ],
        )
        if new.traceparent is not None:
            self._db.execute("INSERT INTO traces VALUES (?, ?)", [run_id, new.traceparent])
        if new.seeds:
            self._db.execute("INSERT INTO seeds VALUES (?, ?)", [run_id, orjson.dumps(new.seeds).decode()])
        if new.note is not None:
            self._db.execute("INSERT INTO notes VALUES (?, ?)", [run_id, new.note])
        self._note_change(run_id, "CREATED", None)

    def _turn(self, new: NewRun) -> int:
        """The turn of a new run: after the last one that waits for its key and flow, not before the next one of all.

        So a run that is submitted behind thousands of another key begins next. This is fair queueing by start tags:
        nothing has to be remembered of runs that have begun.
        """
        same = "status = 'CREATED' AND priority = ?"
        (head,) = self._db.execute(f"SELECT min(turn) FROM runs WHERE {same}", [new.priority]).fetchone()
        (last,) = self._db.execute(
            f"SELECT max(turn) FROM runs WHERE {same} AND submitted_by IS ? AND {FLOW} = ?",
            [new.priority, new.submitted_by, new.flow_version.partition(":")[0]],
        ).fetchone()
        turn: int = max(head or 0, -1 if last is None else last + 1)
        return turn

    def _note_change(self, run_id: str, status: str, finished_at: str | None) -> None:
        query = "INSERT INTO changes (run_id, status, finished_at, at) VALUES (?, ?, ?, ?)"
        self._db.execute(query, [run_id, status, finished_at, now_text()])

    @operation
    def run_of_key(self, key: str) -> str | None:
        row = self._db.execute("SELECT run_id FROM idempotency_keys WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row["run_id"])

    @operation
    def notes(self, run_id: str) -> list[str]:
        rows = self._db.execute("SELECT note FROM notes WHERE run_id = ?", [run_id]).fetchall()
        return [row["note"] for row in rows]

    @operation
    def get(self, run_id: str) -> StoredRun | None:
        return self._get(run_id)

    @operation
    def require(self, run_id: str) -> StoredRun:
        return self._require(run_id)

    def _get(self, run_id: str) -> StoredRun | None:
        query = f"SELECT {RUN_COLUMNS} FROM runs WHERE run_id = ?"
        row = self._db.execute(query, [run_id]).fetchone()
        return None if row is None else stored_run(row)

    def _require(self, run_id: str) -> StoredRun:
        run = self._get(run_id)
        if run is None:
            raise LookupError(run_id)
        return run

    @operation
    def unfinished(self) -> list[StoredRun]:
        query = f"SELECT {RUN_COLUMNS} FROM runs WHERE {_ACTIVE} ORDER BY seq"
        return [stored_run(row) for row in self._db.execute(query)]

    @operation
    def overtaken_by(self, run: StoredRun, since: str, location: str, *, of_source: bool) -> StoredRun | None:
        place = (
            "? IN (json_extract(target_locations, '$.mapped'), json_extract(target_locations, '$.rejects'))"
        )
        where, values = f"seq > ? AND {_DONE} AND finished_at >= ? AND {place}", [run.seq, since, location]
        if of_source:
            where += " AND flow_version BETWEEN ? AND ?"
            values += flow_range(run.flow_version.rpartition(":")[0])
        query = f"SELECT run_id, source_key FROM runs WHERE {where} ORDER BY seq DESC"
        rows = self._db.execute(query if of_source else f"{query} LIMIT 1", values).fetchall()
        batch = batch_of(run.source_key)
        found = (row["run_id"] for row in rows if not of_source or batch_of(row["source_key"]) == batch)
        return None if (run_id := next(found, None)) is None else self._get(run_id)

    @operation
    def next_waiting(self, taken: Collection[str], at_limit: Collection[str] = ()) -> StoredRun | None:
        allowed = f"AND submitted_by NOT IN ({', '.join('?' * len(at_limit))})" if at_limit else ""
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE status = 'CREATED' {allowed} "
            "ORDER BY priority DESC, turn, seq LIMIT ?"
        )
        rows = self._db.execute(query, [*at_limit, len(taken) + 1])
        return next((stored_run(row) for row in rows if row["run_id"] not in taken), None)

    @operation
    def active_sources(self) -> list[str]:
        return [row[0] for row in self._db.execute(f"SELECT source_key FROM runs WHERE {_ACTIVE}")]

    @operation
    def active_seeds(self) -> list[str]:
        # CROSS JOIN: the few runs first.
        rows = self._db.execute(
            f"SELECT seeds.seeds FROM runs CROSS JOIN seeds USING (run_id) WHERE {_ACTIVE}"
        )
        return [seed["source_path"] for row in rows for seed in orjson.loads(row[0]).values()]

    @operation
    def waiting(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM runs WHERE status = 'CREATED'").fetchone()[0]
        return count

    @operation
    def update(
        self,
        seen: StoredRun,
        status: str,
        *,
        event: bytes | None = None,
        outputs: dict[str, str] | None = None,
        lineage: bytes | None = None,
        notice: bytes | None = None,
        read: SourceContent | None = None,
        ledger: Mapping[str, Any] | None = None,
        act: Act | None = None,
        **values: Any,
    ) -> StoredRun | None:
        assignments, arguments = ["status = ?", "rev = rev + 1"], [status]
        for name, value in values.items():
            assignments.append(f"{name} = ?")
            arguments.append(orjson.dumps(value).decode() if name in JSON_COLUMNS else value)
        query = (
            f"UPDATE runs SET {', '.join(assignments)} WHERE run_id = ? AND rev = ? RETURNING {RUN_COLUMNS}"
        )
        run_id = seen.run_id
        with transaction(self._db):
            rows = self._db.execute(query, [*arguments, run_id, seen.rev]).fetchall()
            if not rows:
                return None
            self._note_change(run_id, status, values.get("finished_at"))
            self.audit.add(act)
            if event is not None:
                self.deliveries.add(run_id, event, time.time())
            if lineage is not None:
                self.deliveries.add_lineage(run_id, lineage, time.time())
            if notice is not None:
                self.messages.add(notice)
            if outputs:
                self.outputs.note(run_id, outputs)
            if read is not None:
                self.sources.note(run_id, read)
            run = stored_run(rows[0])
            if status not in ACTIVE:
                self.ledger.entries.run_ended(run, ledger or {})
            if status in _WITH_OUTPUT:
                superseded(self._db, run)
        if status not in ACTIVE:
            self._durability.wanted()
        return run

    @operation
    def runs(self, wanted: RunFilter, before: int | None, limit: int) -> list[StoredRun]:
        condition, values = selected(wanted, before, limit)
        query = f"SELECT {RUN_COLUMNS} FROM runs WHERE {condition} ORDER BY seq DESC LIMIT ?"
        return [stored_run(row) for row in self._db.execute(query, [*values, limit])]

    # -- changes

    @operation
    def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        if after < Cursor(0, aging.forgotten(self._db)):
            raise CursorForgotten
        query = "SELECT run_id, status, finished_at, seq FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._db.execute(query, [after.seq, limit]).fetchall()
        changes = [StatusChange(row[0], row[1], row[2]) for row in rows]
        return changes, Cursor(0, rows[-1]["seq"]) if rows else after

    @operation
    def newest(self) -> Cursor:
        newest: int = self._db.execute("SELECT coalesce(max(seq), 0) FROM changes").fetchone()[0]
        return Cursor(0, max(newest, aging.forgotten(self._db)))

    # -- age

    @operation
    def forget(self, before: str, limit: int) -> int:
        with transaction(self._db):
            return aging.forget(self._db, self.deliveries, before, limit)

    # -- flow versions

    async def put_flow(self, flow: StoredFlow, act: Act | None = None) -> None:
        async with self._submissions:
            await self._put_flow(flow, act)

    @operation
    def _put_flow(self, flow: StoredFlow, act: Act | None) -> None:
        definition, compiled = (orjson.dumps(one).decode() for one in (flow.definition, flow.compiled))
        values = [flow.ref, flow.content_hash, definition, compiled, flow.compiled_by, flow.created_at]
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO flow_versions VALUES (?, ?, ?, ?, ?, ?)", values)
            self.audit.add(act)
        self._durability.wanted()

    @operation
    def flows(self) -> list[StoredFlow]:
        rows = self._db.execute(
            "SELECT ref, content_hash, definition, compiled, compiled_by, created_at FROM flow_versions"
        )
        return [
            StoredFlow(row[0], row[1], orjson.loads(row[2]), orjson.loads(row[3]), row[4], row[5])
            for row in rows
        ]

    @operation
    def runs_of(self, refs: Collection[str], *, with_output: bool = False) -> dict[str, int]:
        wanted = f"flow_version IN ({', '.join('?' * len(refs))})" + (f" AND {_DONE}" if with_output else "")
        query = (
            f"SELECT flow_version, sum(runs) FROM run_counts WHERE {wanted} GROUP BY 1 HAVING sum(runs) > 0"
        )
        return dict(self._db.execute(query, list(refs)).fetchall())

    @operation
    def is_used(self, ref: str) -> bool:
        query = "SELECT 1 FROM run_counts WHERE flow_version = ? AND runs > 0 LIMIT 1"  # also by runs that are purged
        return self._db.execute(query, [ref]).fetchone() is not None
