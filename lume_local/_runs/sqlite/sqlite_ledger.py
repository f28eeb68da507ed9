"""The ledger of rejected rows in the state file: see `_runs.ledger`."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lume_local._runs.audit import of_discard
from lume_local._runs.ledger import (
    LOST,
    OPEN,
    REPLAYING,
    Day,
    Ending,
    Fate,
    LedgerAccount,
    OpenCount,
    RowFilter,
    RowsOfRun,
    UnendedRows,
)
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.ledger_entries import LedgerEntries, open_rows
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.sqlite.sqlite_audit import add_act
from lume_local._shared.row_set import all_rows, unpacked

_AT_ONCE = 200
"""Runs that are looked at by one query."""
_OLDEST = """
CASE reason
WHEN '' THEN (SELECT seq FROM rejected WHERE rejected.flow = inbox.flow AND open > 0 ORDER BY seq LIMIT 1)
ELSE (SELECT seq FROM rejected_for WHERE rejected_for.inbox = inbox.id AND open > 0 ORDER BY seq LIMIT 1)
END
"""


class SqliteLedger:
    """Its entries are part of the transactions of runs."""

    def __init__(self, db: sqlite3.Connection, durability: Durability) -> None:
        self._db, self._durability = db, durability
        self.entries = LedgerEntries(db)

    @operation
    def inbox(self, flow: str | None, since: str) -> list[OpenCount]:
        where, values = ("AND flow = ?", [flow]) if flow is not None else ("", [])
        days = "FROM inbox_days WHERE inbox_days.inbox = inbox.id AND day >= ?"
        query = (
            f"SELECT flow, reason, open, (SELECT coalesce(sum(opened), 0) {days}), "
            f"(SELECT coalesce(sum(closed), 0) {days}), "
            f"(SELECT at FROM rejected WHERE seq = {_OLDEST}), "
            f"max(iif(reason = '', open, 0)) OVER (PARTITION BY flow) AS of_flow "
            f"FROM inbox WHERE open > 0 {where} ORDER BY of_flow DESC, flow, reason != '', open DESC, reason"
        )
        rows = self._db.execute(query, [since[:10], since[:10], *values])
        return [OpenCount(row[0], row[1] or None, *row[2:6]) for row in map(tuple, rows)]

    @operation
    def days(self, flow: str, reason: str | None, since: str) -> list[Day]:
        query = (
            "SELECT day || 'T00:00:00Z', opened, closed FROM inbox_days JOIN inbox ON id = inbox "
            "WHERE flow = ? AND reason = ? AND day >= ? ORDER BY day"
        )
        return [Day(*row) for row in self._db.execute(query, [flow, reason or "", since[:10]])]

    @operation
    def account(self, flow: str, source_key: str | None = None) -> LedgerAccount:
        return self.entries.account(flow, source_key or "")

    @operation
    def rows(self, wanted: RowFilter, after: int, limit: int) -> list[RowsOfRun]:
        rows = list[RowsOfRun]()
        for row in self._runs(wanted, after):
            of_run = self._state(row, wanted.state) & self._having(row, wanted.reasons)
            if of_run:
                rows.append(RowsOfRun(row["seq"], row["run_id"], of_run, row["count"]))
                if len(rows) == limit:
                    break
        return rows

    def _runs(self, wanted: RowFilter, after: int) -> Iterator[sqlite3.Row]:
        """The runs that may have such rows, in order."""
        sources = self._candidates(wanted)
        while True:
            # Of each source as many as are needed at most, in the order of an index; of these the first ones.
            each = [
                f"SELECT * FROM ({query} AND seq > ? ORDER BY seq LIMIT {_AT_ONCE})" for query, _ in sources
            ]
            values = [value for _, own in sources for value in (*own, after)]
            query = f"{' UNION '.join(each)} ORDER BY seq LIMIT {_AT_ONCE}"
            found = [row[0] for row in self._db.execute(query, values)] if sources else []
            for seq in found:
                row = self._db.execute("SELECT * FROM rejected WHERE seq = ?", [seq]).fetchone()
                of_flow = wanted.flow is None or row["flow"] == wanted.flow
                if of_flow and (wanted.since is None or row["at"] >= wanted.since):
                    yield row
            if len(found) < _AT_ONCE:
                return
            after = found[-1]

    def _candidates(self, wanted: RowFilter) -> list[tuple[str, list[Any]]]:
        """Queries for the sequence numbers of runs, each with its values."""
        if wanted.run_id is not None:
            return [("SELECT seq FROM rejected WHERE run_id = ?", [wanted.run_id])]
        if wanted.state == REPLAYING:
            return [("SELECT DISTINCT seq FROM claims WHERE true", [])]
        if wanted.state not in (OPEN, LOST):
            return [("SELECT DISTINCT seq FROM closings WHERE state = ?", [wanted.state])]
        if wanted.state == OPEN and wanted.reasons is not None:
            marks = ", ".join("?" * len(wanted.reasons))
            query = f"SELECT id FROM inbox WHERE reason IN ({marks}) AND (? IS NULL OR flow = ?) AND open > 0"
            found = self._db.execute(query, [*wanted.reasons, wanted.flow, wanted.flow])
            return [("SELECT seq FROM rejected_for WHERE inbox = ? AND open > 0", [row[0]]) for row in found]
        if wanted.state == OPEN and wanted.flow is not None:
            return [("SELECT seq FROM rejected WHERE flow = ? AND open > 0", [wanted.flow])]
        return [(f"SELECT seq FROM rejected WHERE {wanted.state} > 0", [])]

    def _state(self, row: sqlite3.Row, state: str) -> int:
        """The rows of a run that are in a state."""
        if state in (OPEN, LOST):
            is_so = bool(row["is_lost"]) == (state == LOST)
            return open_rows(row) & ~self.entries.claimed(row["seq"]) if is_so else 0
        if state == REPLAYING:
            return open_rows(row) & self.entries.claimed(row["seq"])
        rows = 0
        query = "SELECT rows FROM closings WHERE seq = ? AND state = ?"
        for (found,) in self._db.execute(query, [row["seq"], state]):
            rows |= unpacked(found)
        return rows

    def _having(self, row: sqlite3.Row, reasons: Sequence[str] | None) -> int:
        """The rows of a run that have one of the reasons."""
        if reasons is None:
            return all_rows(row["count"])
        rows = 0
        for reason, having in self._reasons(row["seq"], row["count"]).items():
            rows |= having if reason in reasons else 0
        return rows

    def _reasons(self, seq: int, count: int) -> dict[str, int]:
        query = "SELECT reason, rows FROM rejected_for JOIN inbox ON id = inbox WHERE seq = ? ORDER BY reason"
        return {
            reason: all_rows(count) if rows is None else unpacked(rows)
            for reason, rows in self._db.execute(query, [seq])
        }

    @operation
    def reasons(self, seq: int) -> Mapping[str, int]:
        row = self._db.execute("SELECT count FROM rejected WHERE seq = ?", [seq]).fetchone()
        return self._reasons(seq, row["count"])

    @operation
    def discard(self, found: Sequence[RowsOfRun], by: str, why: str) -> int:
        with transaction(self._db):
            closed = {
                one.run_id: self.entries.close(
                    one.seq, one.rows & ~self.entries.claimed(one.seq), "discarded", by, why
                )
                for one in found
            }
            if count := sum(closed.values()):
                flow, _ = self.entries.source_of(found[0].seq)
                runs = [run_id for run_id, rows in closed.items() if rows]
                add_act(self._db, of_discard(by, why, flow, runs, count))
        self._durability.wanted()
        return count

    @operation
    def unended(self, after: int, limit: int) -> list[UnendedRows]:
        query = (
            "SELECT seq, run_id, is_lost FROM rejected "
            "WHERE (open > 0 OR lost > 0) AND seq > ? ORDER BY seq LIMIT ?"
        )
        return [UnendedRows(row[0], row[1], bool(row[2])) for row in self._db.execute(query, [after, limit])]

    @operation
    def lose(self, run_id: str) -> None:
        with transaction(self._db):
            self.entries.set_lost(run_id, is_lost=True)

    @operation
    def find(self, run_id: str) -> None:
        with transaction(self._db):
            self.entries.set_lost(run_id, is_lost=False)

    @operation
    def is_replay(self, run_id: str) -> bool:
        return self.entries.is_replay(run_id)

    @operation
    def fate(self, run_id: str) -> Fate | None:
        row = self._db.execute("SELECT * FROM rejected WHERE run_id = ?", [run_id]).fetchone()
        if row is None:
            return None
        left, claimed = open_rows(row), self.entries.claimed(row["seq"])
        query = "SELECT state, by, at, rows FROM closings WHERE seq = ? ORDER BY id"
        endings = (
            Ending(state, by, at, unpacked(rows))
            for state, by, at, rows in self._db.execute(query, [row["seq"]])
        )
        free = 0 if row["is_lost"] else left & ~claimed
        return Fate(row["seq"], row["count"], free, left & claimed, tuple(endings))

    @operation
    def replays(self, flow: str) -> list[str]:
        query = (
            "SELECT DISTINCT claims.run_id FROM claims JOIN rejected ON rejected.seq = claims.seq "
            "JOIN runs ON runs.run_id = claims.run_id WHERE flow = ? ORDER BY runs.seq"
        )
        return [row[0] for row in self._db.execute(query, [flow])]
