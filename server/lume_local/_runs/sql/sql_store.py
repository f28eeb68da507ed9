"""Runs, their changes, idempotency keys and flow versions, and the other parts of a store, over a database.

The rule "one success, one attempt at a time" is a query inside the inserting transaction, with two unique indexes in
case the query is wrong.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, compiled or quoted.
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import orjson
from attrs import evolve

from lume_local._runs.sources.source_files import batch_of
from lume_local._runs.sql.beside_runs import SqlAttention, SqlOutputs, SqlSources, SqlStatistics
from lume_local._runs.sql.operation import Feed, Publishing, Sql, marks, reading, statement, writing
from lume_local._runs.sql.run_rows import (
    IN_ORDER,
    IS_PLAIN,
    JSON_COLUMNS,
    RUN_COLUMNS,
    newest_arrived,
    selected,
    stored_run,
)
from lume_local._runs.sql.sql_arrivals import UNREAD_RUN, SqlArrivals, unread_of
from lume_local._runs.sql.sql_audit import SqlAudit, add_act
from lume_local._runs.sql.sql_drafts import SqlDrafts
from lume_local._runs.sql.sql_forget import SqlForget
from lume_local._runs.sql.sql_ledger import SqlLedger
from lume_local._runs.sql.sql_origins import SqlOrigins
from lume_local._runs.sql.sql_outbox import SqlDeliveries, SqlMessages
from lume_local._runs.sql.sql_purge import SqlPurge, look_again, superseded
from lume_local._runs.sql.sql_table import SqlTable
from lume_local._runs.sql.tables import DONE, FLOW, VERSION
from lume_local._runs.store.audit import FORCE, MEND, REPLAY, Act
from lume_local._runs.store.ledger import Claim, records_in
from lume_local._runs.store.records import (
    ACTIVE,
    WITH_OUTPUT,
    Cursor,
    Duplicate,
    KeyReused,
    NewDelivery,
    NewRun,
    RunFilter,
    StatusChange,
    StoredFlow,
    StoredRun,
    WaitingServer,
)
from lume_local._runs.times import now_text
from lume_local._shared.identity import SourceContent

_GET = f"SELECT {RUN_COLUMNS}, {IS_PLAIN} FROM runs WHERE run_id = ?"
_ACTIVE = f"status IN {ACTIVE}"
_PUT_FLOW = """
INSERT INTO flow_versions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (ref) DO UPDATE SET
content_hash = excluded.content_hash, definition = excluded.definition, compiled = excluded.compiled,
compiled_by = excluded.compiled_by, created_at = excluded.created_at
"""


class Pauses:
    """Pauses submissions; a matter of this server's tasks, since only the server with the lease submits.

    A waiting submission holds no connection: those are for the pause.
    """

    def __init__(self) -> None:
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._submitting = 0
        self._none = anyio.Event()

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[None]:
        async with self._one_at_a_time:  # held for the whole pause
            self._submitting += 1
        try:
            yield
        finally:
            self._submitting -= 1
            if not self._submitting:
                self._none.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        async with self._one_at_a_time:
            while self._submitting:
                self._none = anyio.Event()
                await self._none.wait()
            yield


class SqlStore:
    """The whole state. It enforces "one success, one attempt at a time" for each flow version and source.

    Attributes:
        store_id: identifies this state, so that cursors of an earlier one are refused.
        kind: the kind of database, such as `sqlite`.
        form: the number of its form: each release that changes it has a higher one.
    """

    kind: str
    form = VERSION

    def __init__(
        self, sql: Sql, feed: Feed, store_id: str, publishing: Publishing, deliveries: SqlDeliveries
    ) -> None:
        self.sql, self._pauses = sql, Pauses()
        self.feed, self.store_id, self.publishing, self.deliveries = feed, store_id, publishing, deliveries
        self.messages = SqlMessages(sql, deliveries)
        self.arrivals = SqlArrivals(sql, self.messages)
        self.audit = SqlAudit(sql)
        self.drafts = SqlDrafts(sql)
        self.purge = SqlPurge(sql)
        self.sources = SqlSources(sql)
        self.statistics = SqlStatistics(sql)
        self.attention = SqlAttention(sql)
        self.ledger = SqlLedger(sql)
        self.outputs = SqlOutputs(sql, self.ledger.entries)
        self.forgetting = SqlForget(sql, self.outputs, self.ledger.entries, self.drafts)
        self.origins = SqlOrigins(sql, self.ledger.entries)
        self.table = SqlTable(sql)

    async def settled(self) -> None:
        """Wait until all runs created or ended so far, and all flow versions, survive a power cut.

        Raises OSError, `StoreFailed`.
        """
        await self.sql.settled()

    async def wipe(self) -> None:
        """Overwrite what was deleted or replaced, as far as the database does not do so itself."""

    # -- runs

    async def create(self, new: NewRun, claims: Sequence[Claim] = ()) -> tuple[StoredRun, bool]:
        """Claim the source for a new run, or find the idempotency key's run; return whether it is new.

        Of any number of requests for one source, one gets it. A replay and a forced rerun are acts.
        Raises `Duplicate`, `KeyReused`, `TooLong`; with an approval, `DraftChanged`.

        Args:
            claims: the rows of other runs that it replays; `Claimed` is raised unless all are available.
        """
        async with self._pauses.submitting():
            return await self._create(new, claims)

    @writing
    async def _create(self, new: NewRun, claims: Sequence[Claim]) -> tuple[StoredRun, bool]:
        # Versions that share sources wait for each other.
        versions = new.flow_version.partition(":")[0] if new.alike else new.flow_version
        await self.sql.lock("source", versions, new.source_key)
        if new.idempotency_key is not None:
            earlier = await self._submitted(new.idempotency_key, new.fingerprint)
            if earlier is not None:
                return earlier, False
        has_unread = await self._refuse_duplicate(new)
        run_id = f"run_{uuid.uuid4().hex}"
        now = now_text()
        if new.approval is not None:
            await self.drafts.review(new.flow_version.partition(":")[0], new.approval, records_in(claims))
        if claims or new.force_rerun:
            await add_act(self.sql, _act(new, run_id, claims))
        run = await self._insert(new, run_id, now)
        if new.idempotency_key is not None:
            values = [new.idempotency_key, new.fingerprint, run_id, now]
            await self.sql.change("INSERT INTO idempotency_keys VALUES (?, ?, ?, ?)", values)
        if claims:
            await self.ledger.entries.claim(run_id, claims)
        if new.arrived is not None or has_unread:
            run = evolve(run, arrival=await self.arrivals.submitted(new, run.seq))
        self.sql.must_last()
        return run, True

    async def _refuse_duplicate(self, new: NewRun) -> bool:
        """Return whether an arrived file of the source may have been left for this run. Raises `Duplicate`."""
        versions = new.alike or (new.flow_version,)
        these = f"flow_version IN ({', '.join('?' * len(versions))}) AND source_key = ?"
        newest = f"SELECT run_id FROM runs WHERE {these} AND"
        done = f"{newest} {DONE} ORDER BY seq DESC LIMIT 1"
        unread = f"SELECT seq FROM ({UNREAD_RUN}) AS unread"
        source = [*versions, new.source_key]
        active_run, done_run, unread_run = await self.sql.one(
            f"SELECT ({newest} {_ACTIVE} LIMIT 1), ({done}), ({unread})",
            [*source, *source, *unread_of(new)],
        )
        if active_run is not None or (done_run is not None and not new.force_rerun):
            run = await self._require(active_run or done_run)
            raise Duplicate(run.run_id, run.flow_version, is_active=active_run is not None)
        return unread_run is not None

    async def _insert(self, new: NewRun, run_id: str, now: str) -> StoredRun:
        seeds = orjson.dumps(new.seeds).decode()
        if new.seeds:
            await self.sql.change("INSERT INTO seeds VALUES (?, ?)", [run_id, seeds])
        source = new.flow_version, new.source_path, new.source_key
        turn, of_turn = self._turn(new)
        (row,) = await self.sql.rows(
            "INSERT INTO runs (run_id, rev, flow_version, source_path, source_key, run_metadata, force_rerun, "
            "status, created_at, stages, metrics, target_locations, webhook_url, submitted_by, priority, layout, "
            f"turn) VALUES (?, 1, ?, ?, ?, ?, ?, 'CREATED', ?, '[]', '{{}}', '{{}}', ?, ?, ?, ?, {turn}) "
            f"RETURNING {RUN_COLUMNS}",
            [
                *(run_id, *source, orjson.dumps(new.run_metadata).decode(), new.force_rerun, now),
                *(new.webhook_url, new.submitted_by, new.priority, new.layout, *of_turn),
            ],
        )
        if new.traceparent is not None:
            await self.sql.change("INSERT INTO traces VALUES (?, ?)", [run_id, new.traceparent])
        if new.note is not None:
            await self.sql.change("INSERT INTO notes VALUES (?, ?)", [run_id, new.note])
        await self.feed.note(run_id, "CREATED", None)
        return stored_run(row)

    def _turn(self, new: NewRun) -> tuple[str, list[Any]]:
        """Return the turn of a new run: after its key and flow's last waiting run, not before the next run of all.

        So a run submitted behind thousands of another key begins next. This is fair queueing by start tags: nothing
        has to be remembered about runs that have begun.
        """
        same = "status = 'CREATED' AND priority = ?"
        key, by = ("IS NULL", []) if new.submitted_by is None else ("= ?", [new.submitted_by])
        head = f"SELECT min(turn) AS turn FROM runs WHERE {same}"
        last = f"SELECT max(turn) + 1 AS turn FROM runs WHERE {same} AND submitted_by {key} AND {FLOW} = ?"
        turn = f"(SELECT coalesce(max(turn), 0) FROM ({head} UNION ALL {last}) AS turns)"
        return turn, [new.priority, new.priority, *by, new.flow_version.partition(":")[0]]

    @statement
    async def submitted(self, key: str, fingerprint: str) -> StoredRun | None:
        """Return the run of an idempotency key; None if there is none. Raises `KeyReused` for another request."""
        return await self._submitted(key, fingerprint)

    async def _submitted(self, key: str, fingerprint: str) -> StoredRun | None:
        query = "SELECT fingerprint, run_id FROM idempotency_keys WHERE key = ?"
        row = await self.sql.row(query, [key])
        if row is not None and row["fingerprint"] != fingerprint:
            raise KeyReused
        return None if row is None else await self._require(row["run_id"])

    @statement
    async def run_of_key(self, key: str) -> str | None:
        """Return the run of an idempotency key, for any request; None if there is none."""
        row = await self.sql.row("SELECT run_id FROM idempotency_keys WHERE key = ?", [key])
        return None if row is None else str(row["run_id"])

    @statement
    async def get(self, run_id: str) -> StoredRun | None:
        return await self._get(run_id)

    @statement
    async def require(self, run_id: str) -> StoredRun:
        """Return a run that must exist."""
        return await self._require(run_id)

    async def _get(self, run_id: str) -> StoredRun | None:
        row = await self.sql.row(_GET, [run_id])
        return None if row is None else stored_run(row)

    async def _require(self, run_id: str) -> StoredRun:
        run = await self._get(run_id)
        if run is None:
            raise LookupError(run_id)
        return run

    @statement
    async def unfinished(self) -> list[StoredRun]:
        """Return all runs that have not ended, oldest first."""
        rows = await self.sql.rows(f"SELECT {RUN_COLUMNS} FROM runs WHERE {_ACTIVE}")
        # Sorted here: by the index of the numbers, a database might read all runs.
        return sorted(map(stored_run, rows), key=lambda run: run.seq)

    @reading
    async def overtaken_by(
        self, run: StoredRun, since: str, location: str, *, of_source: bool
    ) -> StoredRun | None:
        """Return the newest run submitted after this one that has ended since that time with output at that location.

        Args:
            of_source: only runs of the same flow, in any version, and the same source.
        """
        place = (
            "? IN (json_extract(target_locations, '$.mapped'), json_extract(target_locations, '$.rejects'))"
        )
        # Found by number: in indexes of flows or statuses, most entries would be older runs.
        query = (
            "SELECT run_id, flow_version, source_key FROM runs "
            f"WHERE seq > ? AND ({DONE}) IS TRUE AND finished_at >= ? AND {place} ORDER BY seq DESC"
        )
        rows = await self.sql.rows(query if of_source else f"{query} LIMIT 1", [run.seq, since, location])
        source = _source(run.flow_version, run.source_key)
        found = (row[0] for row in rows if not of_source or _source(row[1], row[2]) == source)
        return None if (run_id := next(found, None)) is None else await self._get(run_id)

    @statement
    async def begun(self, also: Collection[str]) -> list[StoredRun]:
        """Return the active runs that have begun, and these runs even if they have not."""
        has_begun = f"(status != 'CREATED' OR run_id IN ({marks(also)}))"
        query = f"SELECT {RUN_COLUMNS} FROM runs WHERE {_ACTIVE} AND {has_begun}"
        return list(map(stored_run, await self.sql.rows(query, [*also])))

    @statement
    async def next_waiting(
        self, taken: Collection[str], at_limit: Collection[str] = (), resting: Collection[str] = ()
    ) -> StoredRun | None:
        """Return the next run to begin: CREATED, not `taken`, not of a key at its limit or a resting arrival.

        A key that ends with a colon stands for all with this prefix: the tokens of an entry.

        Higher priorities come first. Otherwise (key, flow) take turns: the next run of each, then the one after, in
        order of creation.
        """
        begins = [name for name in at_limit if name.endswith(":")]
        by = "coalesce(submitted_by, '')"  # runs of an earlier release have no recorded submitter
        allowed = f"AND {by} NOT IN ({marks(at_limit)})" if at_limit else ""
        allowed += f" AND substr({by}, 1, ?) != ?" * len(begins)
        allowed += f" AND coalesce(arrival, '') NOT IN ({marks(resting)})" if resting else ""
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE status = 'CREATED' {allowed} "
            "ORDER BY priority DESC, turn, seq LIMIT ?"
        )
        lengths = [value for name in begins for value in (len(name), name)]
        rows = await self.sql.rows(query, [*at_limit, *lengths, *resting, len(taken) + 1])
        return next((stored_run(row) for row in rows if row["run_id"] not in taken), None)

    @statement
    async def active_sources(self) -> list[str]:
        """Return the source keys of the runs that have not ended."""
        return [row[0] for row in await self.sql.rows(f"SELECT source_key FROM runs WHERE {_ACTIVE}")]

    @statement
    async def active_seeds(self) -> list[str]:
        """Return the source paths of the seeds that unended runs bring."""
        rows = await self.sql.rows(
            f"SELECT (SELECT seeds FROM seeds WHERE seeds.run_id = runs.run_id) FROM runs WHERE {_ACTIVE}"
        )
        return [seed["source_path"] for row in rows if row[0] for seed in orjson.loads(row[0]).values()]

    @statement
    async def waiting(self) -> int:
        """Return how many runs have not begun."""
        (count,) = await self.sql.one("SELECT count(*) FROM runs WHERE status = 'CREATED'")
        return int(count)

    async def standbys(self) -> list[WaitingServer]:
        return []

    @writing
    async def update(
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
        """Change a run in one step if its state is still the one that was read; return None otherwise.

        Args:
            seen: the run as it was read; compared by `rev`.
            event: the body for the run's webhook, if it has one; added to the outbox in the same transaction.
            outputs: the identities of the files it has written.
            read: the identity of its source's content.
            ledger: the worker's report on the rejects.
            values: further fields of `StoredRun`.
        """
        assignments, arguments = ["status = ?", "rev = rev + 1"], [status]
        for name, value in values.items():
            assignments.append(f"{name} = ?")
            arguments.append(orjson.dumps(value).decode() if name in JSON_COLUMNS else value)
        returned = "RETURNING webhook_url, error_message"
        query = f"UPDATE runs SET {', '.join(assignments)} WHERE run_id = ? AND rev = ? {returned}"
        run_id = seen.run_id
        rows = await self.sql.rows(query, [*arguments, run_id, seen.rev])
        if not rows:
            return None
        # Not read back, which took a third of the time: `rev` changes with every column of an active run. A message
        # may have characters that a database replaces.
        stored = values | {"error_message": rows[0]["error_message"]}
        run = evolve(seen, status=status, rev=seen.rev + 1, **stored)
        await self.feed.note(run_id, status, values.get("finished_at"))
        await add_act(self.sql, act)
        if event is not None and rows[0]["webhook_url"] is not None:
            await self.deliveries.add("webhook", NewDelivery(rows[0]["webhook_url"], run_id, event))
        if lineage is not None:
            await self.deliveries.add("lineage", NewDelivery("", run_id, lineage))
        if notice is not None:
            await self.messages.add(notice)
        if outputs:
            await self.outputs.note(run_id, outputs)
        if read is not None:
            await self.sources.note(run_id, read)
        if status not in ACTIVE:
            await self.ledger.entries.run_ended(run, ledger or {})
            await self.statistics.note_layouts(run)
            self.sql.must_last()
        if status in WITH_OUTPUT:
            await superseded(self.sql, run)
        return run

    @statement
    async def runs(self, wanted: RunFilter, before: int | None, limit: int) -> list[StoredRun]:
        """Return a page of runs, newest first, after the one with sequence number `before`."""
        condition, values, order = selected(wanted, before, limit, self.sql)
        return await self._listed(condition, values, order, limit)

    @statement
    async def newest_arrived(self, arrivals: Collection[str], limit: int) -> list[StoredRun]:
        """Return the newest runs of these arrivals' files, newest first."""
        if not arrivals:
            return []
        condition, values = newest_arrived(arrivals, limit, self.sql)
        return await self._listed(condition, values, IN_ORDER, limit)

    async def _listed(self, condition: str, values: Sequence[Any], order: str, limit: int) -> list[StoredRun]:
        query = f"SELECT {RUN_COLUMNS} FROM runs WHERE {condition} ORDER BY {order} LIMIT ?"
        return [stored_run(row) for row in await self.sql.rows(query, [*values, limit])]

    # -- changes

    @reading
    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        """Return changes after a cursor, oldest first, without a gap, and the next cursor. Raises `CursorForgotten`.

        A later call never returns a change that belongs before one of these.
        """
        return await self.feed.changes(after, limit)

    @reading
    async def newest(self) -> Cursor:
        """Return the end of the feed."""
        return await self.feed.newest()

    async def follow(self, visible: Callable[[], None]) -> None:
        """Call `visible` when changes appear in the feed after the operations that made them, until cancelled.

        Returns at once if that can't happen.
        """
        await self.feed.follow(visible)

    # -- flow versions; the registry decides which may be replaced

    def submissions_paused(self) -> AbstractAsyncContextManager[None]:
        """Delay the creation of runs and the storing of flow versions while the block runs. Keep it short."""
        return self._pauses.paused()

    async def put_flow(self, flow: StoredFlow, act: Act | None = None) -> None:
        """Store a flow version or its newly compiled form, with the act, if any."""
        async with self._pauses.submitting():
            await self._put_flow(flow, act)

    @writing
    async def _put_flow(self, flow: StoredFlow, act: Act | None) -> None:
        definition, compiled = (orjson.dumps(one).decode() for one in (flow.definition, flow.compiled))
        values = [flow.ref, flow.content_hash, definition, compiled, flow.compiled_by, flow.created_at]
        await self.sql.change(_PUT_FLOW, values)
        await add_act(self.sql, act)
        self.sql.must_last()

    @statement
    async def flows(self) -> list[StoredFlow]:
        rows = await self.sql.rows(
            "SELECT ref, content_hash, definition, compiled, compiled_by, created_at FROM flow_versions"
        )
        return [
            StoredFlow(row[0], row[1], orjson.loads(row[2]), orjson.loads(row[3]), row[4], row[5])
            for row in rows
        ]

    @statement
    async def runs_of(self, refs: Collection[str], *, with_output: bool = False) -> dict[str, int]:
        """Return how many runs, or runs with output, used each of these flow versions; unused ones are omitted."""
        wanted = f"flow_version IN ({marks(refs)})" + (f" AND {DONE}" if with_output else "")
        query = (
            f"SELECT flow_version, sum(runs) FROM run_counts WHERE {wanted} GROUP BY 1 HAVING sum(runs) > 0"
        )
        return {row[0]: row[1] for row in await self.sql.rows(query, list(refs))}

    @statement
    async def is_used(self, ref: str) -> bool:
        """Return whether any run used a flow version, even if it was purged since."""
        query = "SELECT 1 FROM run_counts WHERE flow_version = ? AND runs > 0 LIMIT 1"
        return await self.sql.row(query, [ref]) is not None

    # -- age

    @writing
    async def forget(self, before: str, limit: int) -> int:
        """Delete changes, idempotency keys and settled deliveries from before a time; return how many.

        At most `limit` of each: call it until it returns 0. Runs (see `purge`) and flow versions stay.
        """
        old = "SELECT key FROM idempotency_keys WHERE at < ? ORDER BY at LIMIT ?"
        query = f"DELETE FROM idempotency_keys WHERE key IN ({old}) RETURNING run_id"
        runs = [row[0] for row in await self.sql.rows(query, [before, limit])]
        await look_again(self.sql, f"run_id IN ({marks(runs)})", runs)
        return len(runs) + await self.feed.forget(before, limit) + await self.deliveries.forget(before, limit)


def _act(new: NewRun, run_id: str, claims: Sequence[Claim]) -> Act:
    """Return the act of a new run beyond its submission: a run on rejects, or a forced one."""
    by = new.submitted_by or "server"
    if claims:
        what = MEND if claims[0].is_edited else REPLAY
        return Act(by, what, run_id, {"flow_version": new.flow_version, "rows": records_in(claims)})
    return Act(by, FORCE, run_id, {"flow_version": new.flow_version, "source_path": new.source_path})


def _source(flow_version: str, source_key: str) -> tuple[str, str]:
    return flow_version.rpartition(":")[0], batch_of(source_key)
