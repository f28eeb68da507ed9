"""Finds the sources of returned rows (rejects submitted or replayed), and the runs that have accepted rows of them.

A row is compared with the accepted rows of its source: those from the first run on it, from all runs on that run's
rejects, and so on.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Sequence

from lume_local._runs.sql.ledger_entries import LedgerEntries
from lume_local._runs.sql.operation import Sql, marks, reading
from lume_local._runs.store.ledger import ALL, TAKEN, Claim, Origin, Slice

_TAKEN = f"state IN {TAKEN}"
_RETURNS = f"""
SELECT run_id FROM mends WHERE parent = ?
UNION SELECT mends.run_id FROM replay_rejects JOIN rejected USING (seq)
    JOIN mends ON mends.parent = replay_rejects.run_id WHERE rejected.run_id = ?
UNION SELECT by FROM closings JOIN rejected USING (seq) WHERE rejected.run_id = ? AND {_TAKEN}
"""
"""The runs that took rejects of a run, however they ended."""
_MAPPED = "SELECT json_extract(metrics, '$.rows_mapped') FROM runs WHERE run_id = ?"
_RUNS = "closings JOIN rejected USING (seq)"
"""Closed rejects, each with the run that rejected it."""
_BY_DRAFT = f"SELECT DISTINCT run_id FROM {_RUNS} WHERE state = 'mended' AND by = ?"
"""The runs whose rejects a run from a draft has closed."""


class SqlOrigins:
    """Each operation reads one state."""

    def __init__(self, sql: Sql, entries: LedgerEntries) -> None:
        self.sql, self._entries = sql, entries

    @reading
    async def roots(self, run_id: str, parent: str | None) -> frozenset[str]:
        """Return the first runs on the sources of an unended run."""
        claims = await self._entries.claims_of(run_id)
        return frozenset(one.root for one in await self._origins(parent, claims))

    @reading
    async def of(self, run_id: str, parent: str | None, claims: Sequence[Claim]) -> list[Origin]:
        """Return the origins of the records of a run on rejects; a trial run passes its `claims`."""
        return await self._origins(parent, claims or await self._entries.claims_of(run_id))

    @reading
    async def accepted(self, root: str) -> dict[str, Slice]:
        """Return the runs with mapped rows of a source: the first run on it, and all on its rejects.

        For a replay of several sources, the value gives the places of these rows, if known; otherwise it is all rows.
        """
        found, left = {root: ALL}, [root]
        while left:
            run_id = left.pop()
            for (other,) in await self.sql.rows(_RETURNS, [run_id] * 3):
                if other not in found:
                    found[other] = ALL
                    left.append(other)
        return {run_id: ALL if run_id == root else await self._slice(run_id, found) for run_id in found}

    async def _origins(self, parent: str | None, claims: Sequence[Claim]) -> list[Origin]:
        if not claims and parent is not None:
            claims = await self._entries.rejects_of(parent)
            if len({claim.seq for claim in claims}) < 2:
                (run_id,) = await self._rejected_by(parent, claims)
                return [Origin(root, ALL) for root in sorted((await self._roots([run_id]))[run_id])]
        run_ids = await self._runs_of(claims)
        roots = await self._roots(list(run_ids.values()))
        records: dict[str, list[tuple[int, int]]] = {}
        for claim in claims:
            for root in sorted(roots[run_ids[claim.seq]]):
                records.setdefault(root, []).append((claim.start, claim.rows.bit_count()))
        return [Origin(root, tuple(of_root)) for root, of_root in records.items()]

    async def _roots(self, run_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return the first runs on the source of each run; several if it has rejects of several sources."""
        query = f"SELECT run_id, parent FROM mends WHERE run_id IN ({marks(run_ids)})"
        before = {
            run_id: await self._rejected_by(parent, await self._entries.rejects_of(parent))
            for run_id, parent in await self.sql.rows(query, run_ids)
        }
        of_draft = "json_type(run_metadata, '$.mend') = 'object'"
        query = f"SELECT run_id FROM runs WHERE run_id IN ({marks(run_ids)}) AND {of_draft}"
        for (run_id,) in await self.sql.rows(query, run_ids):
            if run_id not in before:
                before[run_id] = [row[0] for row in await self.sql.rows(_BY_DRAFT, [run_id])]
        found = {run_id: frozenset((run_id,)) for run_id in run_ids}
        for run_id, earlier in before.items():
            if earlier:
                found[run_id] = frozenset().union(*(await self._roots(earlier)).values())
        return found

    async def _rejected_by(self, run_id: str, rejects: Sequence[Claim]) -> list[str]:
        """Return the runs that the rejects of a run come from: itself, or, for a replay, others."""
        return list((await self._runs_of(rejects)).values()) or [run_id]

    async def _runs_of(self, claims: Sequence[Claim]) -> dict[int, str]:
        numbers = list({claim.seq for claim in claims})
        query = f"SELECT seq, run_id FROM rejected WHERE seq IN ({marks(numbers)})"
        return dict(map(tuple, await self.sql.rows(query, numbers)))

    async def _slice(self, run_id: str, of_source: dict[str, Slice]) -> Slice:
        """Locate the rows of one source among a run's mapped rows, where rejects are gathered run by run.

        Returns all unless the ledger accounts for each row, as it can't if some were edited and rejected, or
        filtered.
        """
        own = f"SELECT seq FROM rejected WHERE run_id IN ({marks(of_source)})"
        query = f"SELECT sum(count) FROM closings WHERE seq IN ({own}) AND {_TAKEN} AND by = ?"
        (of_this,) = await self.sql.one(query, [*of_source, run_id])
        mapped = await self.sql.row(_MAPPED, [run_id])
        if mapped is None or of_this is None or int(of_this) == int(mapped[0] or 0):
            return ALL
        query = f"SELECT run_id, closings.count FROM {_RUNS} WHERE by = ? AND {_TAKEN} ORDER BY seq"
        parts = [(one, int(count)) for one, count in await self.sql.rows(query, [run_id])]
        if await self._entries.parent_of(run_id) is not None or sum(n for _, n in parts) != int(mapped[0]):
            return ALL
        places, start = list[tuple[int, int]](), 0
        for one, count in parts:
            if one in of_source:
                places.append((start, count))
            start += count
        return tuple(places)
