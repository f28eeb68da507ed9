"""Old runs in the state: removed, or kept in a compact form (see `_runs.purge`).

`runs.purged` is 0 for a whole run, 1 for a compact one, and 2 for a compact one that may no longer be needed, for
example because a newer run has processed its source. An index has the runs that a purge has to examine.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Sequence
from typing import Any

import orjson

from lume_local._runs.sql.operation import Sql, SqlPart, marks, reading, writing
from lume_local._runs.sql.run_rows import RUN_COLUMNS, stored_run
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.sql.tables import DONE
from lume_local._runs.store.audit import PURGE, Act
from lume_local._runs.store.records import ACTIVE, LookedAt, Purged, StoredRun

_MAY_CHANGE = f"""
runs.purged != 1 AND runs.finished_at < ?
AND NOT EXISTS (SELECT 1 FROM rejected WHERE rejected.seq = runs.seq AND (open > 0 OR lost > 0))
AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.seq = runs.seq)
AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.run_id = runs.run_id AND due IS NOT NULL)
AND NOT EXISTS (
    SELECT 1 FROM mends JOIN runs AS mend USING (run_id) WHERE parent = runs.run_id AND mend.status IN {ACTIVE}
)
-- The last one says which columns the sources of its flow version have.
AND runs.seq != coalesce((
    SELECT max(last.seq) FROM runs AS last WHERE last.flow_version = runs.flow_version AND last.{DONE}
), 0)
"""
_IS_NEEDED = f"""
runs.{DONE} AND NOT EXISTS (
    SELECT 1 FROM runs AS newer WHERE newer.flow_version = runs.flow_version
    AND newer.source_key = runs.source_key AND newer.seq > runs.seq AND newer.{DONE}
)
OR EXISTS (SELECT 1 FROM idempotency_keys WHERE idempotency_keys.run_id = runs.run_id)
OR EXISTS (SELECT 1 FROM replay_rejects WHERE replay_rejects.seq = runs.seq)
OR runs.arrival IS NOT NULL AND NOT runs.{DONE}
OR EXISTS (SELECT 1 FROM arrival_moves WHERE arrival_moves.run = runs.seq)
"""
_HAS_OUTPUTS = "EXISTS (SELECT 1 FROM outputs WHERE outputs.run_id = runs.run_id AND identity != '')"
_BY_RUN = (
    "traces",
    "notes",
    "seeds",
    "outputs",
    "sources",
    "dismissals",
    "mends",
    "deliveries",
    "replay_rejects",
)
_BY_NUMBER = ("rejected", "rejected_for", "closings", "attention", "runs")


class SqlPurge(SqlPart):
    """The old runs of a state. `outputs`: whether the server removes outputs, and so needs their locations."""

    @reading
    async def old(
        self, before: str, after: tuple[str, int], limit: int, *, outputs: bool
    ) -> tuple[list[StoredRun], LookedAt]:
        """Examine the next `limit` runs that ended before a time; return those to remove or make compact, in order.

        Args:
            after: where the previous call ended.
        """
        found = (
            "SELECT seq FROM runs WHERE purged != 1 AND finished_at < ? AND finished_at IS NOT NULL "
            "AND (finished_at, seq) > (?, ?) ORDER BY finished_at, seq LIMIT ?"
        )
        values = [before, *after, limit]
        rows = await self.sql.rows(f"SELECT finished_at, seq FROM runs WHERE seq IN ({found})", values)
        ends = [(row["finished_at"], row["seq"]) for row in rows]
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE seq IN ({found}) AND {_MAY_CHANGE} "
            f"AND NOT (purged = 2 AND {_needed(outputs=outputs)}) ORDER BY finished_at, seq"
        )
        runs = [stored_run(row) for row in await self.sql.rows(query, [*values, before])]
        return runs, max(ends, default=None)

    @writing
    async def remove(
        self, found: Sequence[StoredRun], before: str, *, outputs: bool, detail: dict[str, Any]
    ) -> Purged:
        """Remove these runs or make them compact, if that is still right. It is an act with this detail."""
        await self.sql.lock_ledger(None)
        # Checked again: anything may have happened since they were examined.
        chosen, values = f"seq IN ({marks(found)}) AND {_MAY_CHANGE}", [*(run.seq for run in found), before]
        query = f"SELECT seq, run_id FROM runs WHERE {chosen} AND NOT {_needed(outputs=outputs)}"
        gone = await self.sql.rows(query, values)
        run_ids = [row["run_id"] for row in gone]
        replayed = f"SELECT seq FROM replay_rejects WHERE run_id IN ({marks(run_ids)})"
        await look_again(self.sql, f"seq IN ({replayed})", run_ids)
        await self._delete(_BY_RUN, "run_id", run_ids)
        await self._delete(_BY_NUMBER, "seq", [row["seq"] for row in gone])
        query = f"SELECT seq, run_id, metrics FROM runs WHERE {chosen} AND purged = 0"
        compact = await self.sql.rows(query, values)
        for row in compact:
            await self.sql.change(
                "UPDATE runs SET purged = 1, rev = rev + 1, stages = '[]', metrics = ? WHERE seq = ?",
                [_compacted(row["metrics"]), row["seq"]],
            )
        await self._delete(["traces"], "run_id", [row["run_id"] for row in compact])
        purged = Purged(len(gone), len(compact))
        if purged.runs:
            counts = {"removed": purged.removed, "compact": purged.compact, "before": before}
            await add_act(self.sql, Act("server", PURGE, "runs", counts | detail))
        return purged

    async def _delete(self, tables: Sequence[str], column: str, of: Sequence[int] | Sequence[str]) -> None:
        for table in tables if of else ():
            await self.sql.change(f"DELETE FROM {table} WHERE {column} IN ({marks(of)})", of)


def _needed(*, outputs: bool) -> str:
    return f"({_IS_NEEDED} OR {_HAS_OUTPUTS})" if outputs else f"({_IS_NEEDED})"


def _compacted(text: str) -> str:
    """Return the metrics of a run without column statistics."""
    metrics = orjson.loads(text)
    source = metrics.get("source")
    if not isinstance(source, dict):
        return text
    kept = {name: value for name, value in metrics.items() if name not in ("columns", "shards")}
    kept["source"] = {name: source.get(name) for name in ("bytes", "lines", "records")}
    return orjson.dumps(kept).decode()


async def look_again(sql: Sql, which: str, values: Sequence[Any]) -> None:
    """Have the next purge examine these compact runs again, as part of a transaction."""
    await sql.change(f"UPDATE runs SET purged = 2 WHERE purged = 1 AND {which}", values)


async def superseded(sql: Sql, run: StoredRun) -> None:
    """Mark earlier runs of a source that may no longer be needed, since this run has output."""
    which = f"flow_version = ? AND source_key = ? AND seq < ? AND {DONE}"
    await look_again(sql, which, [run.flow_version, run.source_key, run.seq])
