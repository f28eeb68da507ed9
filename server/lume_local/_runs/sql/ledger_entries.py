"""The entries of the ledger, written within a transaction of the store.

Every event changes a run's sets of rows; then `_recount` brings all counts in line with the sets.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lume_async._base.elided import elided
from lume_local._runs.sql.operation import Row, SqlPart, change_all, for_rows
from lume_local._runs.store.ledger import ASSIGNED, Assignment, Claim, Claimed, LedgerAccount
from lume_local._runs.store.records import WITH_OUTPUT, StoredRun
from lume_local._runs.times import now_text
from lume_local._runs.unusual import mends_others
from lume_local._shared.row_set import all_rows, of_text, packed, unpacked

_log = logging.getLogger("lume_local")

_FIGURES = LedgerAccount._fields


class LedgerEntries(SqlPart):
    """Writes entries; each method is part of a transaction."""

    # -- runs

    async def run_ended(self, run: StoredRun, found: Mapping[str, Any]) -> None:
        """Enter the rejects of a run that has ended, and close the rejects of other runs that it has taken.

        Args:
            found: the worker's report (see `for_ledger`).
        """
        claims = await self.claims_of(run.run_id)
        is_replay = bool(claims) and await self.is_replay(run.run_id)
        parent = await self.parent_of(run.run_id) if mends_others(run.run_metadata) else None
        if claims or run.status in WITH_OUTPUT:
            await self.sql.lock_ledger(None if claims or parent is not None else _name(run))
        if claims:
            await self.sql.change("DELETE FROM claims WHERE run_id = ?", [run.run_id])
        if run.status not in WITH_OUTPUT:
            return
        if is_replay:
            await self._replayed(run, claims, found)
        else:
            await self._read(run, parent, claims, found)

    async def is_replay(self, run_id: str) -> bool:
        query = "SELECT 1 FROM claims WHERE run_id = ? AND is_edited = 0 LIMIT 1"
        return await self.sql.row(query, [run_id]) is not None

    async def _read(
        self, run: StoredRun, parent: str | None, claims: Sequence[Claim], found: Mapping[str, Any]
    ) -> None:
        """Enter a run that is no replay: on a whole source, or on corrected rejects, which it may have claimed."""
        figures, read = run.metrics, dict[str, int]()
        is_whole = parent is None and not claims
        if claims:
            taken = all_rows(sum(claim.rows.bit_count() for claim in claims))
            flow, source = await self._mended(run, claims, taken)
        elif parent is not None:
            taken = of_text(found["mended"]) if "mended" in found else 0
            flow, source = await self._mended(run, await self.rejects_of(parent), taken)
        else:
            flow, source = _name(run), run.source_key
            read = {"read": figures.get("rows_read", 0)}
        mapped, filtered = figures.get("rows_mapped", 0), figures.get("rows_filtered", 0)
        await self._account(flow, source, **read, accepted=mapped, filtered=filtered)
        if rejected := figures.get("rows_rejected"):
            await self.sql.change(
                "INSERT INTO rejected (seq, run_id, flow, source_key, at, count) VALUES (?, ?, ?, ?, ?, ?)",
                [run.seq, run.run_id, flow, source, run.finished_at or now_text(), rejected],
            )
            sets = dict[str, int | None]()
            for reason, text in found.get("reasons", figures.get("reject_reasons", {})).items():
                name, rows = elided(reason), of_text(text) if isinstance(text, str) else None
                before = sets.get(name, 0)
                sets[name] = None if rows is None or before is None else before | rows
            await self._set_reasons(run.seq, flow, sets)
            await self._recount(run.seq)
        if is_whole:
            await self._supersede(run, flow, source)
        await self._check(flow, source)

    async def _set_reasons(self, seq: int, flow: str, sets: Mapping[str, int | None]) -> None:
        """Write the rows of a run with each reason; None stands for all its rows."""
        inbox = await self._opened(flow, dict.fromkeys(sets, 0))
        rows = [(inbox[reason], seq, None if of is None else packed(of)) for reason, of in sets.items()]
        await change_all(
            self.sql,
            "INSERT INTO rejected_for (inbox, seq, rows) VALUES {} "
            "ON CONFLICT (inbox, seq) DO UPDATE SET rows = excluded.rows",
            rows,
        )

    async def parent_of(self, run_id: str) -> str | None:
        """Return the run whose corrected rejects another one has read."""
        found = await self.sql.row("SELECT parent FROM mends WHERE run_id = ?", [run_id])
        return None if found is None else str(found[0])

    async def claims_of(self, run_id: str) -> list[Claim]:
        """Return the rejects of other runs that an unended run has claimed."""
        return await self._parts("claims", run_id)

    async def _parts(self, table: str, run_id: str) -> list[Claim]:
        query = f"SELECT seq, start, rows FROM {table} WHERE run_id = ? ORDER BY start"
        return [
            Claim(seq, start, unpacked(rows)) for seq, start, rows in await self.sql.rows(query, [run_id])
        ]

    async def rejects_of(self, run_id: str) -> list[Claim]:
        """Return the rejects of a run in the order of writing: its own, or other runs' for a replay."""
        found = await self.sql.row("SELECT seq, count FROM rejected WHERE run_id = ?", [run_id])
        if found is None:
            return await self._parts("replay_rejects", run_id)
        return [Claim(found[0], 0, all_rows(found[1]))]

    async def _mended(self, run: StoredRun, parts: Sequence[Claim], taken: int) -> tuple[str, str]:
        """Close the corrected rejects. Returns the flow and the source of the run on them.

        They may come from several runs and sources. The corrected rows then belong to a separate source, and `added`
        is negative for the original ones.
        """
        closed, sources = 0, dict[tuple[str, str], int]()
        for part in parts:
            source = await self.source_of(part.seq)
            closed_here = await self.close(part.seq, part.own(taken), "mended", run.run_id)
            sources[source] = sources.get(source, 0) + closed_here
            closed += closed_here
        (own_source,) = sources if len(sources) == 1 else [(_name(run), run.source_key)]
        again = taken.bit_count() - closed
        await self._account(*own_source, added=run.metrics.get("rows_read", 0) - again, again=again)
        for source, rows in sources.items():
            await self._account(*source, added=-rows)
            if source != own_source:
                await self._check(*source)
        return own_source

    async def source_of(self, seq: int) -> tuple[str, str]:
        row = await self.sql.one("SELECT flow, source_key FROM rejected WHERE seq = ?", [seq])
        return row[0], row[1]

    async def _supersede(self, run: StoredRun, flow: str, source: str) -> None:
        """Close the open rows of the source in all runs before the last submitted one that has read it whole."""
        key = [flow, source]
        query = (
            "UPDATE row_accounts SET newest = CASE WHEN newest < ? THEN ? ELSE newest END "
            "WHERE flow = ? AND source_key = ? RETURNING newest"
        )
        ((newest,),) = await self.sql.rows(query, [run.seq, run.seq, *key])
        query = (
            "SELECT seq, count FROM rejected "
            "WHERE flow = ? AND source_key = ? AND seq < ? AND (open > 0 OR lost > 0)"
        )
        for seq, count in await self.sql.rows(query, [*key, newest]):
            await self.close(seq, all_rows(count), "superseded", run.run_id)

    # -- replays

    async def claim(self, run_id: str, claims: Sequence[Claim]) -> None:
        """Claim rows for a run; they must be open and unclaimed. Raises `Claimed`."""
        await self.sql.lock_ledger(None)
        for claim in claims:
            row = await self.sql.row("SELECT * FROM rejected WHERE seq = ?", [claim.seq])
            if row is None or claim.rows & ~(open_rows(row) & ~await self.claimed(claim.seq)):
                raise Claimed
            values = [run_id, claim.start, claim.seq, packed(claim.rows), claim.is_edited]
            await self.sql.change(
                "INSERT INTO claims (run_id, start, seq, rows, is_edited) VALUES (?, ?, ?, ?, ?)", values
            )

    async def claimed(self, seq: int) -> int:
        """Return the rows of a run that other runs have claimed."""
        rows = 0
        for (found,) in await self.sql.rows("SELECT rows FROM claims WHERE seq = ?", [seq]):
            rows |= unpacked(found)
        return rows

    async def _replayed(self, run: StoredRun, claims: Sequence[Claim], found: Mapping[str, Any]) -> None:
        """Close the accepted rows of a replay's claims, and note the reasons of the others."""
        reasons = {reason: of_text(rows) for reason, rows in found["reasons"].items()}
        rejected, malformed = of_text(found["rejected"]), of_text(found["malformed"])
        accepted = 0
        for claim in claims:
            source = await self.source_of(claim.seq)
            again = claim.own(rejected)
            closed = await self.close(claim.seq, claim.rows & ~again, "replayed", run.run_id)
            taken = (claim.rows & ~again).bit_count()
            accepted += taken
            await self._account(*source, accepted=taken, again=taken - closed)
            if again:
                (count,) = await self.sql.one("SELECT count FROM rejected WHERE seq = ?", [claim.seq])
                before = await self.reasons_of(claim.seq, count)
                sets = {reason: having & ~again for reason, having in before.items()}
                for reason, records in reasons.items():
                    if having := claim.own(records):
                        sets[elided(reason)] = sets.get(elided(reason), 0) | having
                await self._set_reasons(claim.seq, source[0], sets)
                await self._recount(claim.seq)
            await self._check(*source)
        # The original rows of the replay's rejects: first the well-formed ones, then the malformed lines.
        start, origins = 0, list[tuple[Any, ...]]()
        for records in (rejected & ~malformed, malformed):
            for claim in claims:
                if rows := claim.own(records):
                    origins.append((run.run_id, start, claim.seq, packed(rows)))
                    start += rows.bit_count()
        await change_all(self.sql, "INSERT INTO replay_rejects VALUES {}", origins)
        # Its rejects wait among those of the runs that it has replayed.
        await self.sql.change("DELETE FROM attention WHERE seq = ?", [run.seq])
        figures = run.metrics
        if accepted != figures.get("rows_mapped", 0) + figures.get("rows_filtered", 0):
            _log.error(
                "run %s: the ledger does not close: %d rows were accepted (a bug)", run.run_id, accepted
            )

    async def reasons_of(self, seq: int, count: int) -> dict[str, int]:
        """Return the present reasons of a run's `count` rows, each with its rows."""
        query = "SELECT reason, rows FROM rejected_for JOIN inbox ON id = inbox WHERE seq = ? ORDER BY reason"
        return {
            reason: all_rows(count) if rows is None else unpacked(rows)
            for reason, rows in await self.sql.rows(query, [seq])
        }

    # -- rows

    async def close(self, seq: int, rows: int, state: str, by: str, why: str | None = None) -> int:
        """Close the given rows that are not closed yet; return how many."""
        row = await self.sql.one("SELECT * FROM rejected WHERE seq = ?", [seq])
        before = 0 if row["closed"] is None else unpacked(row["closed"])
        new = rows & all_rows(row["count"]) & ~before
        if not new:
            return 0
        count = new.bit_count()
        await self.sql.change(
            "INSERT INTO closings (seq, state, count, rows, by, why, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [seq, state, count, packed(new), by, why, now_text()],
        )
        await self.sql.change("UPDATE rejected SET closed = ? WHERE seq = ?", [packed(before | new), seq])
        await self.assign(seq, new, None)
        await self._account(row["flow"], row["source_key"], **{state: count})
        await self._recount(seq)
        return count

    async def assigned(self, seq: int) -> dict[Assignment, int]:
        """Return the assignments of a run's rows, each with its rows."""
        query = "SELECT by, why, rows FROM closings WHERE seq = ? AND state = ? ORDER BY id"
        found = await self.sql.rows(query, [seq, ASSIGNED])
        return {Assignment(by, why): unpacked(rows) for by, why, rows in found}

    async def assign(self, seq: int, rows: int, to: Assignment | None) -> None:
        """Give rows of a run this assignment in place of another one; None leaves them without any."""
        before = await self.assigned(seq)
        found = {one: having & ~rows for one, having in before.items()}
        if to is not None:
            found[to] = found.get(to, 0) | rows
        if found == before:
            return
        await self.sql.change("DELETE FROM closings WHERE seq = ? AND state = ?", [seq, ASSIGNED])
        values = [
            (seq, ASSIGNED, of.bit_count(), packed(of), *one, now_text()) for one, of in found.items() if of
        ]
        query = "INSERT INTO closings (seq, state, count, rows, by, why, at) VALUES {}"
        await change_all(self.sql, query, values)

    async def set_lost(self, run_id: str, *, is_lost: bool) -> int:
        """Record whether the rejects of a run are unreadable; return how many open rows that has lost."""
        await self.sql.lock_ledger(None)
        query = "UPDATE rejected SET is_lost = ? WHERE run_id = ? AND is_lost != ? RETURNING seq, open"
        lost = 0
        for seq, were_open in await self.sql.rows(query, [is_lost, run_id, is_lost]):
            lost += were_open
            await self._recount(seq)
        return lost

    async def _recount(self, seq: int) -> None:
        """Recount the open rows of a run from its sets, and adjust all totals."""
        row = await self.sql.one("SELECT * FROM rejected WHERE seq = ?", [seq])
        left, count = open_rows(row), all_rows(row["count"])
        now = 0 if row["is_lost"] else left
        query = (
            "SELECT inbox, reason, rejected_for.open, rows "
            "FROM rejected_for JOIN inbox ON id = inbox WHERE seq = ?"
        )
        counts, opened = list[tuple[int, int, int]](), dict[str, int]()
        for inbox, reason, before, rows in await self.sql.rows(query, [seq]):
            found = ((count if rows is None else unpacked(rows)) & now).bit_count()
            if found != before:
                counts.append((inbox, seq, found))
                opened[reason] = found - before
        await change_all(
            self.sql,
            "INSERT INTO rejected_for (inbox, seq, open) VALUES {} "
            "ON CONFLICT (inbox, seq) DO UPDATE SET open = excluded.open",
            counts,
        )
        found, lost = now.bit_count(), (left & ~now).bit_count()
        values = [found, lost, seq]
        await self.sql.change("UPDATE rejected SET open = ?, lost = ? WHERE seq = ?", values)
        if found != row["open"]:
            opened[""] = found - row["open"]
        # The open rows of the flow by reason (all of them under the empty one), and those of the day.
        inboxes, day = await self._opened(row["flow"], opened), now_text()[:10]
        await change_all(
            self.sql,
            "INSERT INTO inbox_days VALUES {} ON CONFLICT (inbox, day) DO UPDATE SET "
            "opened = inbox_days.opened + excluded.opened, closed = inbox_days.closed + excluded.closed",
            [(inboxes[reason], day, max(rows, 0), max(-rows, 0)) for reason, rows in opened.items()],
        )
        if not now:
            # Nothing is left for a person to do.
            await self.sql.change("DELETE FROM attention WHERE seq = ?", [seq])
        changes = {"open": found - row["open"], "lost": lost - row["lost"]}
        await self._account(row["flow"], row["source_key"], **changes)

    async def _opened(self, flow: str, opened: Mapping[str, int]) -> dict[str, int]:
        """Add to the open rows of a flow by reason; return the number of each reason."""
        query = (
            "INSERT INTO inbox (flow, reason, open) VALUES {} "
            "ON CONFLICT (flow, reason) DO UPDATE SET open = inbox.open + excluded.open RETURNING reason, id"
        )
        numbers = dict[str, int]()
        for one, values in for_rows(query, [(flow, *item) for item in opened.items()]):
            numbers |= {row["reason"]: row["id"] for row in await self.sql.rows(one, values)}
        return numbers

    async def _account(self, flow: str, source: str, **changes: int) -> None:
        """Add to the accounts of a source and of its flow."""
        names, figures = list(changes), list(changes.values())
        added = ", ".join(f"{name} = row_accounts.{name} + excluded.{name}" for name in names)
        marks = f"(?, ?{', ?' * len(names)})"
        await self.sql.change(
            f"INSERT INTO row_accounts (flow, source_key, {', '.join(names)}) VALUES {marks}, {marks} "
            f"ON CONFLICT (flow, source_key) DO UPDATE SET {added}",
            [flow, source, *figures, flow, "", *figures],
        )

    async def account(self, flow: str, source: str) -> LedgerAccount:
        query = f"SELECT {', '.join(_FIGURES)} FROM row_accounts WHERE flow = ? AND source_key = ?"
        row = await self.sql.row(query, [flow, source])
        return LedgerAccount() if row is None else LedgerAccount(*row)

    async def _check(self, flow: str, source: str) -> None:
        account = await self.account(flow, source)
        if not account.closes:
            _log.error("the ledger of %s does not close for %r (a bug): %s", flow, source[:200], account)


def open_rows(row: Row) -> int:
    """Return the rows of a run that are not closed."""
    return all_rows(row["count"]) & ~(0 if row["closed"] is None else unpacked(row["closed"]))


def _name(run: StoredRun) -> str:
    return run.flow_version.rpartition(":")[0]
