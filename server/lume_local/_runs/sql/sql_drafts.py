"""Drafts in the state: see `_runs.store.drafts`."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import uuid
from collections.abc import Sequence

import orjson

from lume_local._runs.sql.operation import SqlPart, reading, writing
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.store.audit import APPROVE, SEND_BACK, Act
from lume_local._runs.store.drafts import (
    APPROVED,
    ROW_BYTES,
    SENT_BACK,
    WAITING,
    Cells,
    DraftChanged,
    DraftFull,
    DraftRow,
    Elsewhere,
    Judgement,
    Reject,
    Review,
    Room,
    RowChange,
    RowDraft,
    Saved,
    Submission,
)
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
"""The tables of drafts."""
_COLUMNS = "run_id, number, cells, rev, judged_by, reasons"
_OF = "draft_id = (SELECT draft_id FROM drafts WHERE flow = ? AND owner = ?)"
_ROW = "draft_id = ? AND run_id = ? AND number = ?"
"""Conditions: the rows of the draft that an owner has for a flow, and one row of a draft."""
_ACTS = {APPROVED: APPROVE, SENT_BACK: SEND_BACK}
_MOST_SUBMISSIONS = 1000


class SqlDrafts(SqlPart):
    """See `store.drafts`."""

    @reading
    async def draft(self, flow: str, owner: str) -> RowDraft | None:
        return await self._draft(flow, owner)

    async def _draft(self, flow: str, owner: str) -> RowDraft | None:
        query = "SELECT draft_id, rev, row_count, bytes, changed_at FROM drafts WHERE flow = ? AND owner = ?"
        row = await self.sql.row(query, [flow, owner])
        return None if row is None else RowDraft(*row)

    @reading
    async def rows(self, flow: str, owner: str, after: Reject | None, limit: int) -> list[DraftRow]:
        """Return its rows after one, ordered by run ID and number."""
        where = f"{_OF} AND (run_id, number) > (?, ?) ORDER BY run_id, number LIMIT ?"
        place = ("", -1) if after is None else (after.run_id, after.row)
        return await self._rows(where, flow, owner, *place, limit)

    @reading
    async def unjudged(self, flow: str, owner: str, by: str, limit: int) -> list[DraftRow]:
        """Return rows that a flow version has not judged in their current form, last changed first."""
        where = f"{_OF} AND (judged_by IS NULL OR judged_by != ?) ORDER BY rev DESC LIMIT ?"
        return await self._rows(where, flow, owner, by, limit)

    @reading
    async def judged_by(self, flow: str, owner: str, by: str) -> list[DraftRow]:
        """Return the rows that a flow version has judged in their current form."""
        where = f"{_OF} AND judged_by = ? ORDER BY run_id, number"
        return await self._rows(where, flow, owner, by)

    async def _rows(self, where: str, *values: object) -> list[DraftRow]:
        rows, query = list[DraftRow](), f"SELECT {_COLUMNS} FROM draft_rows WHERE {where}"
        for run_id, number, cells, rev, judged_by, reasons in await self.sql.rows(query, values):
            why = () if reasons is None else tuple(orjson.loads(reasons))
            rows.append(DraftRow(Reject(run_id, number), orjson.loads(cells), rev, judged_by, why))
        return rows

    @writing
    async def save(self, flow: str, owner: str, changes: Sequence[RowChange], room: Room) -> Saved:
        """Change rows that nobody else has changed since. Raises `DraftFull`."""
        await self.sql.lock("drafts", flow, owner)
        before = await self._draft(flow, owner) or RowDraft(uuid.uuid4().hex, 0, 0, 0, "")
        rev, rows, size, now = before.rev, before.rows, before.bytes, now_text()
        revs, refused = dict[Reject, int](), dict[Reject, DraftRow | None]()
        for change in changes:
            there = await self._row(before.draft_id, change.reject)
            if change.seen != (0 if there is None else there.rev):
                refused[change.reject] = there
                continue
            rev += 1
            revs[change.reject] = rev
            rows += (change.cells is not None) - (there is not None)
            size += _size(change.cells) - (0 if there is None else _size(there.cells))
            await self._remove_row(before.draft_id, change.reject)
            if change.cells is not None:
                cells = orjson.dumps(change.cells).decode()
                await self.sql.change(
                    "INSERT INTO draft_rows (draft_id, run_id, number, rev, cells, at) VALUES (?, ?, ?, ?, ?, ?)",
                    [before.draft_id, change.reject.run_id, change.reject.row, rev, cells, now],
                )
        draft = RowDraft(before.draft_id, rev, rows, size, now)
        await self.sql.change(
            "INSERT INTO drafts (flow, owner, draft_id, rev, row_count, bytes, changed_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flow, owner) DO UPDATE SET rev = excluded.rev, "
            "row_count = excluded.row_count, bytes = excluded.bytes, changed_at = excluded.changed_at",
            [flow, owner, *draft],
        )
        if size > before.bytes:
            size_of = "coalesce(sum(bytes), 0), coalesce(sum(bytes) FILTER (WHERE owner = ?), 0)"
            of_all, of_owner = await self.sql.one(f"SELECT {size_of} FROM drafts", [owner])
            if of_owner > room.of_owner:
                raise DraftFull(room.of_owner, of_all=False)
            if of_all > room.of_all:
                raise DraftFull(room.of_all, of_all=True)
        self.sql.must_last()
        return Saved(draft, revs, refused)

    async def _row(self, draft_id: str, reject: Reject) -> DraftRow | None:
        rows = await self._rows(_ROW, draft_id, reject.run_id, reject.row)
        return rows[0] if rows else None

    async def _remove_row(self, draft_id: str, reject: Reject) -> None:
        await self.sql.change(
            f"DELETE FROM draft_rows WHERE {_ROW}",
            [draft_id, reject.run_id, reject.row],
        )

    @writing
    async def judged(self, flow: str, owner: str, by: str, found: Sequence[Judgement]) -> None:
        """Record a flow version's judgements of rows that have not been changed since."""
        await self.sql.lock("drafts", flow, owner)
        draft = await self._draft(flow, owner)
        if draft is None:
            return
        for one in found:
            await self.sql.change(
                f"UPDATE draft_rows SET judged_by = ?, reasons = ? WHERE {_ROW} AND rev = ?",
                [
                    *(by, orjson.dumps(one.reasons).decode()),
                    *(draft.draft_id, one.reject.run_id, one.reject.row, one.rev),
                ],
            )

    @reading
    async def elsewhere(self, flow: str, owner: str, limit: int) -> list[Elsewhere]:
        """Return rows of the flow that are in drafts of others, last changed first."""
        found = list[Elsewhere]()
        query = "SELECT draft_id, owner FROM drafts WHERE flow = ? AND owner != ? ORDER BY changed_at DESC LIMIT ?"
        for draft_id, other in await self.sql.rows(query, [flow, owner, limit]):
            rows = await self.sql.rows(
                "SELECT run_id, number, at FROM draft_rows WHERE draft_id = ? ORDER BY rev DESC LIMIT ?",
                [draft_id, limit - len(found)],
            )
            found += [Elsewhere(Reject(run_id, number), other, at) for run_id, number, at in rows]
        return found

    @writing
    async def drop(self, flow: str, owner: str, rejects: Sequence[Reject] | None) -> None:
        """Remove rows from a draft; None removes the whole draft."""
        await self.sql.lock("drafts", flow, owner)
        draft = await self._draft(flow, owner)
        if draft is None:
            return
        if rejects is None:
            await self._remove(flow, draft.draft_id)
            return
        await self._take_out(draft.draft_id, rejects)

    async def forget(self, rejects: Sequence[Reject]) -> None:
        """Remove rows of one run from all drafts, as part of a transaction."""
        there = "SELECT 1 FROM draft_rows WHERE draft_rows.draft_id = drafts.draft_id AND run_id = ?"
        query = f"SELECT draft_id FROM drafts WHERE EXISTS ({there})"
        for (draft_id,) in await self.sql.rows(query, [rejects[0].run_id]):
            await self._take_out(draft_id, rejects)

    async def _take_out(self, draft_id: str, rejects: Sequence[Reject]) -> None:
        gone = [row for one in rejects if (row := await self._row(draft_id, one)) is not None]
        for row in gone:
            await self._remove_row(draft_id, row.reject)
        await self.sql.change(
            "UPDATE drafts SET row_count = row_count - ?, bytes = bytes - ? WHERE draft_id = ?",
            [len(gone), sum(_size(row.cells) for row in gone), draft_id],
        )

    async def _remove(self, flow: str, draft_id: str) -> None:
        submitted = [f"submitted/{flow}", draft_id]
        await self.sql.change("DELETE FROM draft_rows WHERE draft_id = ? AND run_id = ?", submitted)
        await self.sql.change("DELETE FROM draft_rows WHERE draft_id = ?", [draft_id])
        await self.sql.change("DELETE FROM drafts WHERE draft_id = ?", [draft_id])

    # -- approval: a submission is a row of `submitted/` and the flow, with the draft in place of a run

    @writing
    async def submit(self, flow: str, one: Submission) -> None:
        """Let a submission wait for approval, in place of an earlier one of its owner. Raises `DraftChanged`."""
        await self.sql.lock("drafts", flow, one.owner)
        draft = await self._draft(flow, one.owner)
        if draft is None or draft.rev != one.rev:
            raise DraftChanged
        await self._note(flow, draft.draft_id, one)
        self.sql.must_last()

    @reading
    async def submissions(self, flow: str, owner: str = "") -> list[Submission]:
        """Return the submissions that wait, and an owner's in any state, whose drafts are unchanged since."""
        found, query = list[Submission](), "SELECT cells FROM draft_rows WHERE draft_id = ? LIMIT ?"
        for (cells,) in await self.sql.rows(query, [f"submitted/{flow}", _MOST_SUBMISSIONS]):
            one = Submission(**orjson.loads(cells))
            draft = await self._draft(flow, one.owner)
            is_same = draft is not None and draft.rev == one.rev
            found += [one] if is_same and (one.state == WAITING or one.owner == owner) else []
        return found

    @writing
    async def send_back(self, flow: str, review: Review) -> None:
        """Send a submission back; the edits stay in the draft. Raises `DraftChanged`."""
        await self.review(flow, review)
        self.sql.must_last()

    async def review(self, flow: str, review: Review, rows: int | None = None) -> None:
        """Record a review, as part of a transaction, which creates a run if it is approved. Raises `DraftChanged`.

        Args:
            rows: how many of the rows the run has; all rows of the submission without a run.
        """
        await self.sql.lock("drafts", flow, review.owner)
        draft = await self._draft(flow, review.owner)
        query = "SELECT cells FROM draft_rows WHERE draft_id = ? AND run_id = ?"
        found = await self.sql.row(query, [f"submitted/{flow}", "" if draft is None else draft.draft_id])
        one = None if found is None else Submission(**orjson.loads(found[0]))
        # What was approved may be approved again: its run may have failed, or several are needed.
        if one is None or draft is None or not draft.rev == one.rev == review.rev or review.by == one.owner:
            raise DraftChanged
        if one.state not in {WAITING, review.state}:
            raise DraftChanged
        one = one._replace(state=review.state, reviewer=review.by, comment=review.comment)
        await self._note(flow, draft.draft_id, one)
        rows = one.rows if rows is None else rows
        detail = {"edited_by": one.owner, "rows": rows, "to": one.to, "comment": one.comment}
        await add_act(self.sql, Act(review.by, _ACTS[review.state], flow, detail))

    async def _note(self, flow: str, draft_id: str, one: Submission) -> None:
        await self.sql.change(
            "INSERT INTO draft_rows (draft_id, run_id, number, rev, cells, at) VALUES (?, ?, 0, ?, ?, ?) "
            "ON CONFLICT (draft_id, run_id, number) DO UPDATE SET rev = excluded.rev, cells = excluded.cells, "
            "at = excluded.at",
            [f"submitted/{flow}", draft_id, one.rev, orjson.dumps(one._asdict()).decode(), one.at],
        )

    @writing
    async def expire(self, before: str, limit: int) -> int:
        """Remove drafts last changed before a time; return how many were found, at most `limit`.

        One that is saved at the same moment stays.
        """
        query = "SELECT flow, owner FROM drafts WHERE changed_at < ? ORDER BY changed_at LIMIT ?"
        old = await self.sql.rows(query, [before, limit])
        for flow, owner in old:
            await self.sql.lock("drafts", flow, owner)
            draft = await self._draft(flow, owner)
            # Checked again: it may have been saved before the lock.
            if draft is not None and draft.changed_at < before:
                await self._remove(flow, draft.draft_id)
        return len(old)


def _size(cells: Cells | None) -> int:
    return 0 if cells is None else ROW_BYTES + len(orjson.dumps(cells))
