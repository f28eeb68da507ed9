"""The entries of the ledger, written within a transaction of the store.

Whatever happens to rows changes the sets of their run; then `_recount` brings all counts in line with the sets.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import fields

from lume_async._base.elided import elided
from lume_local._runs.ledger import Claim, Claimed, LedgerAccount
from lume_local._runs.records import StoredRun
from lume_local._runs.times import now_text
from lume_local._shared.row_set import all_rows, of_text, packed, placed, unpacked

_log = logging.getLogger("lume_local")

_HAS_OUTPUT = ("SUCCEEDED", "PARTIAL_FAILED")
_FIGURES = tuple(one.name for one in fields(LedgerAccount))


class LedgerEntries:
    """Each method is part of a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    # -- runs

    def run_ended(self, run: StoredRun, found: Mapping[str, Any]) -> None:
        """Enter the rejects of a run that has ended, and close those of other runs that it has taken.

        Args:
            found: what the worker has reported (see `for_ledger`).
        """
        is_replay = self.is_replay(run.run_id)
        claims = self._parts("claims", run.run_id)
        if claims:
            self._db.execute("DELETE FROM claims WHERE run_id = ?", [run.run_id])
        if run.status not in _HAS_OUTPUT:
            return
        if is_replay:
            self._replayed(run, claims, found)
        else:
            self._read(run, claims, found)

    def is_replay(self, run_id: str) -> bool:
        query = "SELECT 1 FROM claims WHERE run_id = ? AND is_edited = 0 LIMIT 1"
        return self._db.execute(query, [run_id]).fetchone() is not None

    def _read(self, run: StoredRun, claims: Sequence[Claim], found: Mapping[str, Any]) -> None:
        """A run that is no replay: on a whole source, or on corrected rejects, which it may have claimed."""
        figures, parent = run.metrics, self._parent_of(run.run_id)
        is_whole = parent is None and not claims
        if claims:
            taken = all_rows(sum(claim.rows.bit_count() for claim in claims))
            flow, source = self._mended(run, claims, taken)
        elif parent is not None:
            taken = of_text(found["mended"]) if "mended" in found else 0
            flow, source = self._mended(run, self._rejects_of(parent), taken)
        else:
            flow, source = _name(run), run.source_key
            self._account(flow, source, read=figures.get("rows_read", 0))
        mapped, filtered = figures.get("rows_mapped", 0), figures.get("rows_filtered", 0)
        self._account(flow, source, accepted=mapped, filtered=filtered)
        if figures.get("rows_rejected"):
            self._enter(run, flow, source, found.get("reasons", figures.get("reject_reasons", {})))
        if is_whole:
            self._supersede(run, flow, source)
        self._check(flow, source)

    def _enter(self, run: StoredRun, flow: str, source: str, reasons: Mapping[str, Any]) -> None:
        at = run.finished_at or now_text()
        values = [run.seq, run.run_id, flow, source, at, run.metrics["rows_rejected"]]
        self._db.execute(
            "INSERT INTO rejected (seq, run_id, flow, source_key, at, count) VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        for reason, rows in reasons.items():
            known = of_text(rows) if isinstance(rows, str) else None
            self._add_reason(run.seq, self._inbox(flow, elided(reason)), known)
        self._recount(run.seq)

    def _add_reason(self, seq: int, inbox: int, rows: int | None) -> None:
        """Note which rows have a reason, besides those that had it before; None: all have it."""
        query = "SELECT rows FROM rejected_for WHERE inbox = ? AND seq = ?"
        before = self._db.execute(query, [inbox, seq]).fetchone()
        if before is not None and (before["rows"] is None or rows is None):
            rows = None
        elif before is not None and rows is not None:
            rows |= unpacked(before["rows"])
        self._db.execute(
            "INSERT INTO rejected_for (inbox, seq, rows) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET rows = excluded.rows",
            [inbox, seq, None if rows is None else packed(rows)],
        )

    def _parent_of(self, run_id: str) -> str | None:
        """The run whose corrected rejects another one has read."""
        found = self._db.execute("SELECT parent FROM mends WHERE run_id = ?", [run_id]).fetchone()
        return None if found is None else str(found[0])

    def _parts(self, table: str, run_id: str) -> list[Claim]:
        query = f"SELECT seq, start, rows FROM {table} WHERE run_id = ? ORDER BY start"
        return [Claim(seq, start, unpacked(rows)) for seq, start, rows in self._db.execute(query, [run_id])]

    def _rejects_of(self, run_id: str) -> list[Claim]:
        """The rejects of a run, in the order in which it wrote them: its own, or of a replay those of other runs."""
        found = self._db.execute("SELECT seq, count FROM rejected WHERE run_id = ?", [run_id]).fetchone()
        if found is None:
            return self._parts("replay_rejects", run_id)
        return [Claim(found[0], 0, all_rows(found[1]))]

    def _mended(self, run: StoredRun, parts: Sequence[Claim], taken: int) -> tuple[str, str]:
        """Close the rejects that were corrected. Returns the flow and the source of the run on them.

        They may be rows of several runs, and of several sources. Then the corrected ones are those of a source of
        their own, and `added` is negative where they have come from.
        """
        closed, sources = 0, dict[tuple[str, str], int]()
        for part in parts:
            source = self.source_of(part.seq)
            closed_here = self.close(part.seq, _own(part, taken), "mended", run.run_id)
            sources[source] = sources.get(source, 0) + closed_here
            closed += closed_here
        (own_source,) = sources if len(sources) == 1 else [(_name(run), run.source_key)]
        again = taken.bit_count() - closed
        self._account(*own_source, added=run.metrics.get("rows_read", 0) - again, again=again)
        for source, rows in sources.items():
            self._account(*source, added=-rows)
            if source != own_source:
                self._check(*source)
        return own_source

    def source_of(self, seq: int) -> tuple[str, str]:
        row = self._db.execute("SELECT flow, source_key FROM rejected WHERE seq = ?", [seq]).fetchone()
        return row[0], row[1]

    def _supersede(self, run: StoredRun, flow: str, source: str) -> None:
        """Close what is open of the source in all runs but the one submitted last that has read it whole."""
        key = [flow, source]
        self._db.execute(
            "UPDATE row_accounts SET newest = max(newest, ?) WHERE flow = ? AND source_key = ?",
            [run.seq, *key],
        )
        query = "SELECT newest FROM row_accounts WHERE flow = ? AND source_key = ?"
        (newest,) = self._db.execute(query, key).fetchone()
        query = (
            "SELECT seq, count FROM rejected "
            "WHERE flow = ? AND source_key = ? AND seq < ? AND (open > 0 OR lost > 0)"
        )
        for seq, count in self._db.execute(query, [*key, newest]).fetchall():
            self.close(seq, all_rows(count), "superseded", run.run_id)

    # -- replays

    def claim(self, run_id: str, claims: Sequence[Claim]) -> None:
        """Have a run take rows, which must be open and of no other run. Raises `Claimed`."""
        for claim in claims:
            row = self._db.execute("SELECT * FROM rejected WHERE seq = ?", [claim.seq]).fetchone()
            if row is None or claim.rows & ~(open_rows(row) & ~self.claimed(claim.seq)):
                raise Claimed
            values = [run_id, claim.start, claim.seq, packed(claim.rows), claim.is_edited]
            self._db.execute(
                "INSERT INTO claims (run_id, start, seq, rows, is_edited) VALUES (?, ?, ?, ?, ?)", values
            )

    def claimed(self, seq: int) -> int:
        """The rows of a run that replays have."""
        rows = 0
        for (found,) in self._db.execute("SELECT rows FROM claims WHERE seq = ?", [seq]):
            rows |= unpacked(found)
        return rows

    def _replayed(self, run: StoredRun, claims: Sequence[Claim], found: Mapping[str, Any]) -> None:
        reasons = {reason: of_text(rows) for reason, rows in found["reasons"].items()}
        rejected, malformed = of_text(found["rejected"]), of_text(found["malformed"])
        accepted = 0
        for claim in claims:
            source = self.source_of(claim.seq)
            again = _own(claim, rejected)
            closed = self.close(claim.seq, claim.rows & ~again, "replayed", run.run_id)
            taken = (claim.rows & ~again).bit_count()
            accepted += taken
            self._account(*source, accepted=taken, again=taken - closed)
            if again:
                now = {reason: _own(claim, records) for reason, records in reasons.items()}
                self._judged_again(claim.seq, source[0], again, now)
            self._check(*source)
        self._keep_rejects(run.run_id, claims, [rejected & ~malformed, malformed])
        figures = run.metrics
        if accepted != figures.get("rows_mapped", 0) + figures.get("rows_filtered", 0):
            _log.error(
                "run %s: the ledger does not close: %d rows were accepted (a bug)", run.run_id, accepted
            )

    def _keep_rejects(self, run_id: str, claims: Sequence[Claim], in_order: Sequence[int]) -> None:
        """Note whose rows the rejects of a replay are: first the well-formed ones, then the malformed lines."""
        start = 0
        for records in in_order:
            for claim in claims:
                rows = _own(claim, records)
                if rows:
                    values = [run_id, start, claim.seq, packed(rows)]
                    self._db.execute("INSERT INTO replay_rejects VALUES (?, ?, ?, ?)", values)
                    start += rows.bit_count()

    def _judged_again(self, seq: int, flow: str, rows: int, reasons: Mapping[str, int]) -> None:
        """Some rows have other reasons now."""
        (count,) = self._db.execute("SELECT count FROM rejected WHERE seq = ?", [seq]).fetchone()
        query = "SELECT inbox, rows FROM rejected_for WHERE seq = ?"
        for inbox, before in self._db.execute(query, [seq]).fetchall():
            kept = (all_rows(count) if before is None else unpacked(before)) & ~rows
            values = [packed(kept), inbox, seq]
            self._db.execute("UPDATE rejected_for SET rows = ? WHERE inbox = ? AND seq = ?", values)
        for reason, having in reasons.items():
            if having:
                self._add_reason(seq, self._inbox(flow, elided(reason)), having)
        self._recount(seq)

    # -- rows

    def close(self, seq: int, rows: int, state: str, by: str, why: str | None = None) -> int:
        """Close those of the rows that are not closed; how many that were."""
        row = self._db.execute("SELECT * FROM rejected WHERE seq = ?", [seq]).fetchone()
        before = 0 if row["closed"] is None else unpacked(row["closed"])
        new = rows & all_rows(row["count"]) & ~before
        if not new:
            return 0
        count = new.bit_count()
        self._db.execute(
            "INSERT INTO closings (seq, state, count, rows, by, why, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [seq, state, count, packed(new), by, why, now_text()],
        )
        self._db.execute("UPDATE rejected SET closed = ? WHERE seq = ?", [packed(before | new), seq])
        self._account(row["flow"], row["source_key"], **{state: count})
        self._recount(seq)
        return count

    def set_lost(self, run_id: str, *, is_lost: bool) -> None:
        """Whether the rejects of a run can't be read any more."""
        query = "UPDATE rejected SET is_lost = ? WHERE run_id = ? AND is_lost != ? RETURNING seq"
        for (seq,) in self._db.execute(query, [is_lost, run_id, is_lost]).fetchall():
            self._recount(seq)

    def _recount(self, seq: int) -> None:
        """Count the open rows of a run by its sets, and change all counts by what that changes."""
        row = self._db.execute("SELECT * FROM rejected WHERE seq = ?", [seq]).fetchone()
        left, count = open_rows(row), all_rows(row["count"])
        now = 0 if row["is_lost"] else left
        query = "SELECT inbox, open, rows FROM rejected_for WHERE seq = ?"
        for inbox, before, rows in self._db.execute(query, [seq]).fetchall():
            found = ((count if rows is None else unpacked(rows)) & now).bit_count()
            if found != before:
                values = [found, inbox, seq]
                self._db.execute("UPDATE rejected_for SET open = ? WHERE inbox = ? AND seq = ?", values)
                self._add_open(inbox, found - before)
        found, lost = now.bit_count(), (left & ~now).bit_count()
        values = [found, lost, seq]
        self._db.execute("UPDATE rejected SET open = ?, lost = ? WHERE seq = ?", values)
        if found != row["open"]:
            self._add_open(self._inbox(row["flow"], ""), found - row["open"])
        if not now:
            self._db.execute(
                "DELETE FROM attention WHERE seq = ?", [seq]
            )  # nothing is left for a person to do
        changes = {"open": found - row["open"], "lost": lost - row["lost"]}
        self._account(row["flow"], row["source_key"], **changes)

    def _inbox(self, flow: str, reason: str) -> int:
        query = "INSERT INTO inbox (flow, reason) VALUES (?, ?) ON CONFLICT DO UPDATE SET open = open RETURNING id"
        ((number,),) = self._db.execute(query, [flow, reason]).fetchall()
        return int(number)

    def _add_open(self, inbox: int, rows: int) -> None:
        self._db.execute("UPDATE inbox SET open = open + ? WHERE id = ?", [rows, inbox])
        self._db.execute(
            "INSERT INTO inbox_days VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "opened = opened + excluded.opened, closed = closed + excluded.closed",
            [inbox, now_text()[:10], max(rows, 0), max(-rows, 0)],
        )

    def _account(self, flow: str, source: str, **changes: int) -> None:
        """Add to the account of a source, and to that of its flow."""
        names = list(changes)
        added = ", ".join(f"{name} = {name} + excluded.{name}" for name in names)
        for key in (source, ""):
            self._db.execute(
                f"INSERT INTO row_accounts (flow, source_key, {', '.join(names)}) "
                f"VALUES (?, ?{', ?' * len(names)}) ON CONFLICT DO UPDATE SET {added}",
                [flow, key, *changes.values()],
            )

    def account(self, flow: str, source: str) -> LedgerAccount:
        query = f"SELECT {', '.join(_FIGURES)} FROM row_accounts WHERE flow = ? AND source_key = ?"
        row = self._db.execute(query, [flow, source]).fetchone()
        return LedgerAccount() if row is None else LedgerAccount(*row)

    def _check(self, flow: str, source: str) -> None:
        account = self.account(flow, source)
        if not account.closes:
            _log.error("the ledger of %s does not close for %r (a bug): %s", flow, source[:200], account)


def open_rows(row: sqlite3.Row) -> int:
    """The rows of a run that are not closed."""
    return all_rows(row["count"]) & ~(0 if row["closed"] is None else unpacked(row["closed"]))


def _own(claim: Claim, records: int) -> int:
    """The rows of a run among records of a replay."""
    return placed((records >> claim.start) & all_rows(claim.rows.bit_count()), claim.rows)


def _name(run: StoredRun) -> str:
    return run.flow_version.rpartition(":")[0]
