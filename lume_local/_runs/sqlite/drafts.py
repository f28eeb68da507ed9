"""Drafts in the state file: see `_runs.drafts`."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
import uuid
from collections.abc import Iterator, Sequence

import orjson
from attrs import astuple

from lume_local._runs.drafts import (
    ROW_BYTES,
    Cells,
    DraftFull,
    DraftRow,
    Elsewhere,
    Judgement,
    Reject,
    Room,
    RowChange,
    RowDraft,
    Saved,
)
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.times import now_text

DRAFTS = """
CREATE TABLE IF NOT EXISTS drafts (
    flow TEXT NOT NULL,
    owner TEXT NOT NULL,
    draft_id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    changed_at TEXT NOT NULL,
    PRIMARY KEY (flow, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS drafts_by_age ON drafts (changed_at);

-- An edited row; `reasons` is what the flow version `judged_by` says about it, NULL if none has judged it as it is.
CREATE TABLE IF NOT EXISTS draft_rows (
    draft_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    cells TEXT NOT NULL,
    at TEXT NOT NULL,
    judged_by TEXT,
    reasons TEXT,
    PRIMARY KEY (draft_id, run_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS draft_rows_by_change ON draft_rows (draft_id, rev);
"""
"""This part of the schema."""
_COLUMNS = "run_id, number, cells, rev, judged_by, reasons"
_OF = "draft_id = (SELECT draft_id FROM drafts WHERE flow = ? AND owner = ?)"


class SqliteDrafts:
    """The drafts of one state file."""

    def __init__(self, db: sqlite3.Connection, durability: Durability) -> None:
        self._db, self._durability = db, durability

    @operation
    def draft(self, flow: str, owner: str) -> RowDraft | None:
        return self._draft(flow, owner)

    def _draft(self, flow: str, owner: str) -> RowDraft | None:
        query = "SELECT draft_id, rev, row_count, bytes, changed_at FROM drafts WHERE flow = ? AND owner = ?"
        row = self._db.execute(query, [flow, owner]).fetchone()
        return None if row is None else RowDraft(*row)

    @operation
    def rows(self, flow: str, owner: str, after: Reject | None, limit: int) -> list[DraftRow]:
        query = (
            f"SELECT {_COLUMNS} FROM draft_rows WHERE {_OF} AND (run_id, number) > (?, ?) "
            "ORDER BY run_id, number LIMIT ?"
        )
        place = ("", -1) if after is None else (after.run_id, after.row)
        return list(self._rows(query, flow, owner, *place, limit))

    @operation
    def unjudged(self, flow: str, owner: str, by: str, limit: int) -> list[DraftRow]:
        query = (
            f"SELECT {_COLUMNS} FROM draft_rows WHERE {_OF} AND (judged_by IS NULL OR judged_by != ?) "
            "ORDER BY rev DESC LIMIT ?"
        )
        return list(self._rows(query, flow, owner, by, limit))

    @operation
    def passing(self, flow: str, owner: str, by: str) -> list[DraftRow]:
        query = (
            f"SELECT {_COLUMNS} FROM draft_rows WHERE {_OF} AND judged_by = ? AND reasons = '[]' "
            "ORDER BY run_id, number"
        )
        return list(self._rows(query, flow, owner, by))

    def _rows(self, query: str, *values: object) -> Iterator[DraftRow]:
        for run_id, number, cells, rev, judged_by, reasons in self._db.execute(query, values):
            why = () if reasons is None else tuple(orjson.loads(reasons))
            yield DraftRow(Reject(run_id, number), orjson.loads(cells), rev, judged_by, why)

    @operation
    def save(self, flow: str, owner: str, changes: Sequence[RowChange], room: Room) -> Saved:
        with transaction(self._db):
            before = self._draft(flow, owner) or RowDraft(uuid.uuid4().hex, 0, 0, 0, "")
            rev, rows, size, now = before.rev, before.rows, before.bytes, now_text()
            revs, refused = dict[Reject, int](), dict[Reject, DraftRow | None]()
            for change in changes:
                there = self._row(before.draft_id, change.reject)
                if change.seen != (0 if there is None else there.rev):
                    refused[change.reject] = there
                    continue
                rev += 1
                revs[change.reject] = rev
                rows += (change.cells is not None) - (there is not None)
                size += _size(change.cells) - (0 if there is None else _size(there.cells))
                self._put(before.draft_id, change, rev, now)
            draft = RowDraft(before.draft_id, rev, rows, size, now)
            self._db.execute(
                "INSERT INTO drafts (flow, owner, draft_id, rev, row_count, bytes, changed_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flow, owner) DO UPDATE SET rev = excluded.rev, "
                "row_count = excluded.row_count, bytes = excluded.bytes, changed_at = excluded.changed_at",
                [flow, owner, *astuple(draft)],
            )
            if size > before.bytes:
                self._check(owner, room)
        self._durability.wanted()
        return Saved(draft, revs, refused)

    def _row(self, draft_id: str, reject: Reject) -> DraftRow | None:
        query = f"SELECT {_COLUMNS} FROM draft_rows WHERE draft_id = ? AND run_id = ? AND number = ?"
        return next(self._rows(query, draft_id, reject.run_id, reject.row), None)

    def _put(self, draft_id: str, change: RowChange, rev: int, now: str) -> None:
        self._remove_row(draft_id, change.reject)
        if change.cells is not None:
            cells = orjson.dumps(change.cells).decode()
            self._db.execute(
                "INSERT INTO draft_rows (draft_id, run_id, number, rev, cells, at) VALUES (?, ?, ?, ?, ?, ?)",
                [draft_id, change.reject.run_id, change.reject.row, rev, cells, now],
            )

    def _remove_row(self, draft_id: str, reject: Reject) -> None:
        self._db.execute(
            "DELETE FROM draft_rows WHERE draft_id = ? AND run_id = ? AND number = ?",
            [draft_id, reject.run_id, reject.row],
        )

    def _check(self, owner: str, room: Room) -> None:
        """Raises `DraftFull`."""
        query = "SELECT coalesce(sum(bytes), 0), coalesce(sum(bytes) FILTER (WHERE owner = ?), 0) FROM drafts"
        of_all, of_owner = self._db.execute(query, [owner]).fetchone()
        if of_owner > room.of_owner:
            raise DraftFull(room.of_owner, of_all=False)
        if of_all > room.of_all:
            raise DraftFull(room.of_all, of_all=True)

    @operation
    def judged(self, flow: str, owner: str, by: str, found: Sequence[Judgement]) -> None:
        with transaction(self._db):
            draft = self._draft(flow, owner)
            if draft is None:
                return
            for one in found:
                self._db.execute(
                    "UPDATE draft_rows SET judged_by = ?, reasons = ? "
                    "WHERE draft_id = ? AND run_id = ? AND number = ? AND rev = ?",
                    [
                        *(by, orjson.dumps(one.reasons).decode()),
                        *(draft.draft_id, one.reject.run_id, one.reject.row, one.rev),
                    ],
                )

    @operation
    def elsewhere(self, flow: str, owner: str, limit: int) -> list[Elsewhere]:
        found = list[Elsewhere]()
        query = "SELECT draft_id, owner FROM drafts WHERE flow = ? AND owner != ? ORDER BY changed_at DESC LIMIT ?"
        for draft_id, other in self._db.execute(query, [flow, owner, limit]).fetchall():
            rows = self._db.execute(
                "SELECT run_id, number, at FROM draft_rows WHERE draft_id = ? ORDER BY rev DESC LIMIT ?",
                [draft_id, limit - len(found)],
            )
            found += [Elsewhere(Reject(run_id, number), other, at) for run_id, number, at in rows]
        return found

    @operation
    def drop(self, flow: str, owner: str, rejects: Sequence[Reject] | None) -> None:
        with transaction(self._db):
            draft = self._draft(flow, owner)
            if draft is None:
                return
            if rejects is None:
                self._remove(draft.draft_id)
                return
            gone = [row for one in rejects if (row := self._row(draft.draft_id, one)) is not None]
            for row in gone:
                self._remove_row(draft.draft_id, row.reject)
            self._db.execute(
                "UPDATE drafts SET row_count = row_count - ?, bytes = bytes - ? WHERE draft_id = ?",
                [len(gone), sum(_size(row.cells) for row in gone), draft.draft_id],
            )

    def _remove(self, draft_id: str) -> None:
        self._db.execute("DELETE FROM draft_rows WHERE draft_id = ?", [draft_id])
        self._db.execute("DELETE FROM drafts WHERE draft_id = ?", [draft_id])

    @operation
    def expire(self, before: str, limit: int) -> int:
        with transaction(self._db):
            query = "SELECT draft_id FROM drafts WHERE changed_at < ? ORDER BY changed_at LIMIT ?"
            old = [row[0] for row in self._db.execute(query, [before, limit]).fetchall()]
            for draft_id in old:
                self._remove(draft_id)
        return len(old)


def _size(cells: Cells | None) -> int:
    return 0 if cells is None else ROW_BYTES + len(orjson.dumps(cells))
