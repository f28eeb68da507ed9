"""The ledger of rejected rows in the state: see `_runs.store.ledger`."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from lume_local._runs.sql.ledger_entries import LedgerEntries, open_rows
from lume_local._runs.sql.operation import Row, Sql, marks, reading, statement, writing
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.store.audit import ASSIGN, DISCARD, Act
from lume_local._runs.store.ledger import (
    ASSIGNED,
    LOST,
    OPEN,
    REPLAYING,
    Assignment,
    Day,
    Ending,
    Fate,
    LedgerAccount,
    OpenCount,
    RowFilter,
    RowsOfRun,
    UnendedRows,
)
from lume_local._shared.row_set import unpacked

_AT_ONCE = 200
"""Runs examined by one query."""
_LOST = "(SELECT lost FROM row_accounts WHERE row_accounts.flow = inbox.flow AND source_key = '')"
_OLDEST = """
CASE reason
WHEN '' THEN (SELECT seq FROM rejected WHERE rejected.flow = inbox.flow AND open > 0 ORDER BY seq LIMIT 1)
ELSE (SELECT seq FROM rejected_for WHERE rejected_for.inbox = inbox.id AND open > 0 ORDER BY seq LIMIT 1)
END
"""


class SqlLedger:
    """See `store.ledger`. It changes in the transactions that create and end runs, and by these operations."""

    def __init__(self, sql: Sql) -> None:
        self.sql = sql
        self.entries = LedgerEntries(sql)

    @statement
    async def inbox(self, flow: str | None, since: str) -> list[OpenCount]:
        """Return the flows with open or lost rows, each followed by its reasons, those with most rows first."""
        where, values = ("AND flow = ?", [flow]) if flow is not None else ("", [])
        days = "FROM inbox_days WHERE inbox_days.inbox = inbox.id AND day >= ?"
        query = (
            f"SELECT flow, reason, open, (SELECT coalesce(sum(opened), 0) {days}), "
            f"(SELECT coalesce(sum(closed), 0) {days}), "
            f"(SELECT at FROM rejected WHERE seq = {_OLDEST}), "
            f"max(CASE reason WHEN '' THEN open ELSE 0 END) OVER (PARTITION BY flow) AS of_flow "
            f"FROM inbox WHERE (open > 0 OR reason = '' AND {_LOST} > 0) {where} "
            f"ORDER BY of_flow DESC, flow, reason != '', open DESC, reason"
        )
        rows = await self.sql.rows(query, [since[:10], since[:10], *values])
        return [OpenCount(row[0], row[1] or None, *row[2:6]) for row in map(tuple, rows)]

    @statement
    async def days(self, flow: str, reason: str | None, since: str) -> list[Day]:
        """Return the days with changes, oldest first."""
        query = (
            "SELECT day || 'T00:00:00Z', opened, closed FROM inbox_days JOIN inbox ON id = inbox "
            "WHERE flow = ? AND reason = ? AND day >= ? ORDER BY day"
        )
        return [Day(*row) for row in await self.sql.rows(query, [flow, reason or "", since[:10]])]

    @statement
    async def account(self, flow: str, source_key: str | None = None) -> LedgerAccount:
        """Return the account of a flow, or of one source."""
        return await self.entries.account(flow, source_key or "")

    @statement
    async def corrected(self, flow: str, source_key: str, before: int) -> int:
        """Return how many rejects of the last run that has read a source whole, submitted before, were corrected."""
        query = (
            "SELECT coalesce(sum(count), 0) FROM row_accounts JOIN closings ON seq = newest AND state = 'mended' "
            "WHERE flow = ? AND source_key = ? AND newest < ?"
        )
        return int((await self.sql.one(query, [flow, source_key, before]))[0])

    @reading
    async def rows(self, wanted: RowFilter, after: int, limit: int) -> list[RowsOfRun]:
        """Return the rows of up to `limit` runs with a greater sequence number than `after`, oldest first."""
        rows = list[RowsOfRun]()
        async with aclosing(self._runs(wanted, after)) as runs:
            async for row in runs:
                of_run = await self._state(row, wanted.state)
                if wanted.assignee is not None:
                    assigned = await self.entries.assigned(row["seq"])
                    of_run &= sum(rows for to, rows in assigned.items() if to.assignee == wanted.assignee)
                if wanted.reasons is not None:
                    having = 0
                    for reason, rows_of in (await self.entries.reasons_of(row["seq"], row["count"])).items():
                        having |= rows_of if reason in wanted.reasons else 0
                    of_run &= having
                if of_run:
                    rows.append(RowsOfRun(row["seq"], row["run_id"], of_run, row["count"]))
                    if len(rows) == limit:
                        break
        return rows

    async def _runs(self, wanted: RowFilter, after: int) -> AsyncGenerator[Row]:
        """Yield the runs that may have such rows, in order."""
        sources = await self._candidates(wanted)
        while True:
            # Each query gives as many as may be needed, in index order; the first of them all are taken.
            each = [
                f"SELECT * FROM ({query} AND seq > ? ORDER BY seq LIMIT {_AT_ONCE}) AS found"
                for query, _ in sources
            ]
            values = [value for _, own in sources for value in (*own, after)]
            query = f"{' UNION '.join(each)} ORDER BY seq LIMIT {_AT_ONCE}"
            found = [row[0] for row in await self.sql.rows(query, values)] if sources else []
            for seq in found:
                row = await self.sql.one("SELECT * FROM rejected WHERE seq = ?", [seq])
                of_flow = wanted.flow is None or row["flow"] == wanted.flow
                if of_flow and (wanted.since is None or row["at"] >= wanted.since):
                    yield row
            if len(found) < _AT_ONCE:
                return
            after = found[-1]

    async def _candidates(self, wanted: RowFilter) -> list[tuple[str, list[Any]]]:
        """Return queries for the sequence numbers of runs, each with its values."""
        if wanted.run_id is not None:
            return [("SELECT seq FROM rejected WHERE run_id = ?", [wanted.run_id])]
        if wanted.assignee is not None:
            query = "SELECT DISTINCT seq FROM closings WHERE state = ? AND by = ?"
            return [(query, [ASSIGNED, wanted.assignee])]
        if wanted.state == REPLAYING:
            return [("SELECT DISTINCT seq FROM claims WHERE true", [])]
        if wanted.state not in (OPEN, LOST):
            return [("SELECT DISTINCT seq FROM closings WHERE state = ?", [wanted.state])]
        if wanted.state == OPEN and wanted.reasons is not None:
            of_flow, flow = ("", []) if wanted.flow is None else ("AND flow = ?", [wanted.flow])
            query = f"SELECT id FROM inbox WHERE reason IN ({marks(wanted.reasons)}) {of_flow} AND open > 0"
            found = await self.sql.rows(query, [*wanted.reasons, *flow])
            return [("SELECT seq FROM rejected_for WHERE inbox = ? AND open > 0", [row[0]]) for row in found]
        if wanted.state == OPEN and wanted.flow is not None:
            return [("SELECT seq FROM rejected WHERE flow = ? AND open > 0", [wanted.flow])]
        return [(f"SELECT seq FROM rejected WHERE {wanted.state} > 0", [])]

    async def _state(self, row: Row, state: str) -> int:
        if state in (OPEN, LOST):
            is_so = bool(row["is_lost"]) == (state == LOST)
            return open_rows(row) & ~await self.entries.claimed(row["seq"]) if is_so else 0
        if state == REPLAYING:
            return open_rows(row) & await self.entries.claimed(row["seq"])
        rows = 0
        query = "SELECT rows FROM closings WHERE seq = ? AND state = ?"
        for (found,) in await self.sql.rows(query, [row["seq"], state]):
            rows |= unpacked(found)
        return rows

    @reading
    async def reasons(self, seq: int) -> Mapping[str, int]:
        """Return the present reasons of a run's rows; after a replay they differ from those in its rejects."""
        row = await self.sql.one("SELECT count FROM rejected WHERE seq = ?", [seq])
        return await self.entries.reasons_of(seq, row["count"])

    @writing
    async def assign(self, found: Sequence[RowsOfRun], to: Assignment, by: str) -> int:
        """Give the open ones of these rows of one flow an assignment; return how many. That is an act."""
        await self.sql.lock_ledger(None)
        count = 0
        for one in found:
            rows = one.rows & open_rows(await self.sql.one("SELECT * FROM rejected WHERE seq = ?", [one.seq]))
            await self.entries.assign(one.seq, rows, to if any(to) else None)
            count += rows.bit_count()
        if count:
            flow, _ = await self.entries.source_of(found[0].seq)
            await add_act(self.sql, Act(by, ASSIGN, flow, {"rows": count, **to._asdict()}))
        self.sql.must_last()
        return count

    @reading
    async def assignments(self, seq: int) -> Mapping[Assignment, int]:
        """Return the assignments of a run's rows, each with its rows."""
        return await self.entries.assigned(seq)

    @reading
    async def assignees(self, flow: str) -> Mapping[tuple[str, str], int]:
        """Return how many open rows of a flow each person has, by person and reason."""
        found = Counter[tuple[str, str]]()
        runs = "SELECT DISTINCT seq, rejected.count FROM closings JOIN rejected USING (seq)"
        for seq, count in await self.sql.rows(f"{runs} WHERE flow = ? AND state = ?", [flow, ASSIGNED]):
            reasons = await self.entries.reasons_of(seq, count)
            for to, rows in (await self.entries.assigned(seq)).items():
                found.update({(to.assignee, why): (rows & of).bit_count() for why, of in reasons.items()})
        return +found

    @writing
    async def discard(self, found: Sequence[RowsOfRun], by: str, why: str) -> int:
        """Close the open ones of these rows of one flow; return how many. If there were any, it is an act."""
        await self.sql.lock_ledger(None)
        closed = dict[str, int]()
        for one in found:
            rows = one.rows & ~await self.entries.claimed(one.seq)
            closed[one.run_id] = await self.entries.close(one.seq, rows, "discarded", by, why)
        if count := sum(closed.values()):
            flow, _ = await self.entries.source_of(found[0].seq)
            runs = [run_id for run_id, rows in closed.items() if rows]
            await add_act(self.sql, Act(by, DISCARD, flow, {"rows": count, "runs": runs, "why": why}))
        self.sql.must_last()
        return count

    @statement
    async def unended(self, after: int, limit: int) -> list[UnendedRows]:
        """Return runs with open or lost rows and a greater sequence number than `after`, oldest first."""
        query = (
            "SELECT rejected.seq, rejected.run_id, is_lost, "
            "CASE WHEN coalesce(identity, '-') != '' THEN json_extract(target_locations, '$.rejects') END "
            "FROM rejected JOIN runs ON runs.seq = rejected.seq "
            "LEFT JOIN outputs ON outputs.run_id = rejected.run_id AND part = 'rejects' "
            "WHERE (open > 0 OR lost > 0) AND rejected.seq > ? ORDER BY rejected.seq LIMIT ?"
        )
        return [
            UnendedRows(row[0], row[1], bool(row[2]), row[3])
            for row in await self.sql.rows(query, [after, limit])
        ]

    @writing
    async def set_lost(self, run_id: str, *, is_lost: bool) -> None:
        """Record that the rejects of a run can no longer be read, or that they can be read again."""
        await self.entries.set_lost(run_id, is_lost=is_lost)

    @statement
    async def is_replay(self, run_id: str) -> bool:
        """Return whether an unended run has unedited rows of other runs."""
        return await self.entries.is_replay(run_id)

    @reading
    async def fate(self, run_id: str) -> Fate | None:
        """Return the fate of the rejected rows of a run; None if it has none."""
        row = await self.sql.row("SELECT * FROM rejected WHERE run_id = ?", [run_id])
        if row is None:
            return None
        left, claimed = open_rows(row), await self.entries.claimed(row["seq"])
        query = "SELECT state, by, at, rows FROM closings WHERE seq = ? AND state != ? ORDER BY id"
        closings = await self.sql.rows(query, [row["seq"], ASSIGNED])
        endings = tuple(Ending(state, by, at, unpacked(rows)) for state, by, at, rows in closings)
        free = 0 if row["is_lost"] else left & ~claimed
        return Fate(row["seq"], row["count"], free, left & claimed, endings)

    @statement
    async def replays(self, flow: str) -> list[str]:
        """Return the replays of a flow that have not ended, oldest first."""
        query = (
            "SELECT claims.run_id FROM claims JOIN rejected ON rejected.seq = claims.seq "
            "JOIN runs ON runs.run_id = claims.run_id WHERE flow = ? GROUP BY claims.run_id ORDER BY min(runs.seq)"
        )
        return [row[0] for row in await self.sql.rows(query, [flow])]
