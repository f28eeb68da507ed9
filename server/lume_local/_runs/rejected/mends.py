"""Mends: a flow version judges the corrected rows of a draft, and accepted ones are submitted together.

One mend may have rows of many runs. It claims their rejects in the transaction that creates it, and closes them as
mended in the one that ends it. Rows that it rejects again become its own rejects, in their edited form. If it fails,
the rejects are open again, and their edits are still in the draft.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from attrs import evolve, frozen

from lume_async.models import RunStatus
from lume_local._flow.definition import Flow
from lume_local._runs.rejected.replays import Edits, Replays, check_version, numbered
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.drafts import DraftChanged, DraftRow, Judgement, Reject, Review, Submission
from lume_local._runs.store.ledger import LOST, OPEN, REPLAYING, Claim, Claimed, Fate, RowsOfRun
from lume_local._runs.store.records import StoredRun
from lume_local._runs.times import now_text
from lume_local._shared.row_set import names_of, of_text, row_set, rows_in

NOT_OPEN = "the row is no longer open"
_ATTEMPTS = 3


class Mending(NamedTuple):
    """The submitted runs of a draft.

    Attributes:
        runs: the runs on the rows; several only if the rows have different columns.
        rows: how many rows they have.
    """

    runs: list[StoredRun]
    rows: int


@frozen
class RowStanding:
    """The ledger's entry for a reject: its state, its `reasons`, and, if closed, by which run or key and when."""

    state: str
    by: str = ""
    at: str = ""
    reasons: Sequence[str] = ()


class Mends:
    def __init__(self, store: SqlStore, replays: Replays) -> None:
        self._store, self._replays = store, replays

    # -- judging

    async def judge(self, flow: str, owner: str, to: Flow, limit: int) -> list[Judgement]:
        """Let a version judge at most `limit` rows of a draft that it has not judged in their current form.

        The most recently changed rows come first. Raises `ReplayRefused`, `WorkerDied`.

        If the version has unique columns, previously judged rows that a repeated value may concern are judged, too,
        since all are submitted together. Those whose reasons have changed come last.
        """
        rows = await self._store.drafts.unjudged(flow, owner, to.ref, limit)
        prefixes = tuple(f"{column.name}:" for column in to.columns if column.unique)
        judged = await self._store.drafts.judged_by(flow, owner, to.ref) if rows and prefixes else []
        beside = [
            row for row in judged if not row.reasons or any(why.startswith(prefixes) for why in row.reasons)
        ]
        return await self._judge(flow, owner, to, rows, beside)

    async def _judge(
        self, flow: str, owner: str, to: Flow, rows: Sequence[DraftRow], beside: Sequence[DraftRow] = ()
    ) -> list[Judgement]:
        verdicts, obstacles = await self.verdicts([*rows, *beside], to, owner)
        reasons = verdicts | {reject: (why,) for reject, why in obstacles.items()}
        found = [Judgement(row.reject, row.rev, reasons[row.reject]) for row in rows]
        found += [
            Judgement(row.reject, row.rev, verdicts[row.reject])
            for row in beside
            if verdicts.get(row.reject, row.reasons) != row.reasons
        ]
        await self._store.drafts.judged(flow, owner, to.ref, found)
        return found

    async def verdicts(
        self, rows: Sequence[DraftRow], to: Flow, by: str
    ) -> tuple[dict[Reject, tuple[str, ...]], dict[Reject, str]]:
        """Return why a version would reject each row, and why other rows can't be judged.

        Raises `ReplayRefused`, `WorkerDied`.
        """
        check_version(to)
        found: dict[Reject, tuple[str, ...]] = {}
        obstacles = {row.reject: NOT_OPEN for row in rows}
        free, edits = await self._free(rows)
        async with self._replays.gathered(free, to, edits) as gathered:
            for one in gathered.unread:
                for number in edits[one.run_id]:
                    obstacles[Reject(one.run_id, int(number))] = f"the row can't be read: {one.problem}"
            for path, claims in gathered.files.items():
                done = await self._replays.tried(path, claims, to, by)
                if "rejected" not in done.ledger:
                    why = done.run.error_message or "the flow has failed"
                    obstacles |= dict.fromkeys(_in_order(claims, free), why)
                    continue
                sets = {reason: of_text(records) for reason, records in done.ledger["reasons"].items()}
                for record, reject in enumerate(_in_order(claims, free)):
                    found[reject] = tuple(reason for reason, records in sets.items() if records >> record & 1)
        return found, {reject: why for reject, why in obstacles.items() if reject not in found}

    async def _free(
        self, rows: Iterable[DraftRow], reason: str | None = None
    ) -> tuple[list[RowsOfRun], dict[str, Edits]]:
        """Return the open, unclaimed rows that were rejected for this reason, with their edits.

        Rows of the oldest run come first.
        """
        of_runs: dict[str, list[DraftRow]] = defaultdict(list)
        for row in rows:
            of_runs[row.reject.run_id].append(row)
        found, edits = list[RowsOfRun](), dict[str, Edits]()
        for run_id, having in of_runs.items():
            fate = await self._store.ledger.fate(run_id)
            if fate is None:
                continue
            numbers = [row.reject.row for row in having if row.reject.row < fate.count]
            free = row_set(numbers, fate.count) & fate.free
            if free and reason is not None:
                free &= (await self._store.ledger.reasons(fate.seq)).get(reason, 0)
            if free:
                found.append(RowsOfRun(fate.seq, run_id, free, fate.count))
                edits[run_id] = {
                    str(row.reject.row): dict(row.cells) for row in having if free >> row.reject.row & 1
                }
        return sorted(found, key=lambda one: one.seq), edits

    # -- submitting

    async def propose(self, flow: str, owner: str, rev: int, to: Flow, reason: str | None) -> int:
        """Let the rows that `submit` would submit wait for approval; return how many.

        Raises `DraftChanged`, `ReplayRefused`.
        """
        check_version(to)
        judged = await self._store.drafts.judged_by(flow, owner, to.ref)
        free, _ = await self._free((row for row in judged if not row.reasons and row.rev <= rev), reason)
        rows = sum(one.rows.bit_count() for one in free)
        if rows:
            await self._store.drafts.submit(flow, Submission(owner, rev, to.ref, reason, rows, now_text()))
        return rows

    async def submit(
        self,
        flow: str,
        owner: str,
        rev: int,
        to: Flow,
        reason: str | None = None,
        approval: Review | None = None,
    ) -> Mending:
        """Submit the rows that a version would accept, once for each revision of the draft.

        Given a reason, rows that were not rejected for it stay in the draft.

        Raises `DraftChanged`, `ReplayRefused`, `CantTell`, `WorkerDied`.
        """
        check_version(to)
        draft = await self._store.drafts.draft(flow, owner)
        if draft is None or draft.rev != rev:
            raise DraftChanged
        attempt = 0
        part = "" if reason is None else f"/{hashlib.sha256(reason.encode()).hexdigest()}"
        while runs := await self._replays.of_key(key := f"mend/{draft.draft_id}/{rev}/{attempt}{part}"):
            if any(not RunStatus(run.status).is_terminal or RunStatus(run.status).has_output for run in runs):
                break
            attempt += 1  # these runs had no result
        judged = await self._store.drafts.judged_by(flow, owner, to.ref)
        # An accepted value may repeat one by now; and a row may be open again, since the run that had it has failed.
        again = [row for row in judged if (attempt and not row.reasons) or NOT_OPEN in row.reasons]
        if again:
            await self._judge(flow, owner, to, (), again)
        rows = sum(run.run_metadata["mend"]["rows"] for run in runs)
        for _ in range(_ATTEMPTS):
            judged = await self._store.drafts.judged_by(flow, owner, to.ref)
            # A row changed since then is not the one that the user saw.
            free, edits = await self._free(
                (row for row in judged if not row.reasons and row.rev <= rev), reason
            )
            async with self._replays.gathered(free, to, edits) as gathered:
                try:
                    for path, claims in gathered.files.items():
                        described = {"mend": gathered.described(path, to, [reason] if reason else None)}
                        runs.append(
                            await self._replays.submitted(
                                path, claims, to, described, numbered(key, len(runs)), owner, approval
                            )
                        )
                        rows += described["mend"]["rows"]
                    break
                except Claimed:
                    continue  # somebody else has claimed some of the rows
        return Mending(runs, rows)

    # -- state of rows

    async def rows(
        self, flow: str, owner: str, after: Reject | None, limit: int
    ) -> tuple[list[tuple[DraftRow, RowStanding]], Reject | None]:
        """Return rows of a draft after one, with the state of their rejects, and the last one if more may follow.

        Rows that the owner's runs have mended are done: they leave the draft and are omitted.
        """
        found = await self._store.drafts.rows(flow, owner, after, limit)
        numbers: dict[str, list[int]] = defaultdict(list)
        for row in found:
            numbers[row.reject.run_id].append(row.reject.row)
        fates, reasons = dict[str, Fate | None](), dict[str, dict[int, list[str]]]()
        for run_id, of_run in numbers.items():
            fate = fates[run_id] = await self._store.ledger.fate(run_id)
            reasons[run_id] = {}
            if fate is not None:
                there = [number for number in of_run if number < fate.count]
                reasons[run_id] = names_of(there, await self._store.ledger.reasons(fate.seq), fate.count)
        shown, done = list[tuple[DraftRow, RowStanding]](), list[Reject]()
        own = dict[str, bool]()
        for row in found:
            standing = _standing(row.reject.row, fates[row.reject.run_id])
            standing = evolve(standing, reasons=reasons[row.reject.run_id].get(row.reject.row, []))
            if standing.state == "mended" and standing.by not in own:
                run = await self._store.get(standing.by)
                own[standing.by] = (
                    run is not None and run.submitted_by == owner and "mend" in (run.run_metadata or {})
                )
            if own.get(standing.by) and standing.state == "mended":
                done.append(row.reject)
            else:
                shown.append((row, standing))
        if done:
            await self._store.drafts.drop(flow, owner, done)
        return shown, found[-1].reject if len(found) == limit else None


def _standing(row: int, fate: Fate | None) -> RowStanding:
    if fate is not None and row < fate.count:
        if fate.free >> row & 1:
            return RowStanding(OPEN)
        if fate.claimed >> row & 1:
            return RowStanding(REPLAYING)
        for one in fate.endings:
            if one.rows >> row & 1:
                return RowStanding(one.state, one.by, one.at)
    return RowStanding(LOST)


def _in_order(claims: Sequence[Claim], free: Sequence[RowsOfRun]) -> list[Reject]:
    """Return the rows in the order of a file's records."""
    run_ids = {one.seq: one.run_id for one in free}
    return [Reject(run_ids[claim.seq], row) for claim in claims for row in rows_in(claim.rows)]
