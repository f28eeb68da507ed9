"""Old runs in the state file: removed, or kept in a compact form (see `_runs.purge`).

`runs.purged` is 0 for a whole run, 1 for one that was made compact, and 2 for one of these that may not be needed any
more: a newer run has processed its source, for example. An index has the runs that a purge has to look at.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from lume_local._runs.audit import PURGE, Act
from lume_local._runs.purge import LookedAt, Purged
from lume_local._runs.records import ACTIVE, StoredRun
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.sqlite.run_rows import RUN_COLUMNS, stored_run
from lume_local._runs.sqlite.sqlite_audit import add_act

OLD_RUNS = """
CREATE INDEX old_runs ON runs (finished_at, seq) WHERE purged != 1 AND finished_at IS NOT NULL;
CREATE INDEX keys_of_run ON idempotency_keys (run_id);
CREATE INDEX replay_rejects_on ON replay_rejects (seq);
"""
"""This part of the schema; `runs` has the column `purged`."""

_DONE = "status IN ('SUCCEEDED', 'PARTIAL_FAILED')"
_MAY_CHANGE = f"""
runs.purged != 1 AND runs.finished_at < :before
AND NOT EXISTS (SELECT 1 FROM rejected WHERE rejected.seq = runs.seq AND (open > 0 OR lost > 0))
AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.seq = runs.seq)
AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.run_id = runs.run_id AND due IS NOT NULL)
AND NOT EXISTS (
    SELECT 1 FROM mends JOIN runs AS mend USING (run_id) WHERE parent = runs.run_id AND mend.status IN {ACTIVE}
)
-- The last one says which columns the sources of its flow version have.
AND runs.seq != coalesce((SELECT max(seq) FROM runs AS last WHERE flow_version = runs.flow_version AND {_DONE}), 0)
"""
_IS_NEEDED = f"""(
    runs.{_DONE} AND NOT EXISTS (
        SELECT 1 FROM runs AS newer
        WHERE flow_version = runs.flow_version AND source_key = runs.source_key AND seq > runs.seq AND {_DONE}
    )
    OR EXISTS (SELECT 1 FROM idempotency_keys WHERE idempotency_keys.run_id = runs.run_id)
    OR EXISTS (SELECT 1 FROM replay_rejects WHERE replay_rejects.seq = runs.seq)
    OR :outputs AND EXISTS (SELECT 1 FROM outputs WHERE outputs.run_id = runs.run_id AND identity != '')
)"""
_COMPACT = """
purged = 1, rev = rev + 1, stages = '[]',
metrics = iif(
    json_type(metrics, '$.source') = 'object',
    json_set(json_remove(metrics, '$.columns', '$.shards'), '$.source', json_object(
        'bytes', json_extract(metrics, '$.source.bytes'),
        'lines', json_extract(metrics, '$.source.lines'),
        'records', json_extract(metrics, '$.source.records')
    )),
    metrics
)
"""
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


class SqlitePurge:
    """The old runs of one state file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @operation
    def old(
        self, before: str, after: tuple[str, int], limit: int, *, outputs: bool
    ) -> tuple[list[StoredRun], LookedAt]:
        found = (
            "SELECT seq FROM runs WHERE purged != 1 AND finished_at < :before "
            "AND (finished_at, seq) > (:at, :seq) ORDER BY finished_at, seq LIMIT :limit"
        )
        values = {"before": before, "at": after[0], "seq": after[1], "limit": limit, "outputs": outputs}
        ends = [
            (row["finished_at"], row["seq"])
            for row in self._db.execute(f"SELECT finished_at, seq FROM runs WHERE seq IN ({found})", values)
        ]
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE seq IN ({found}) AND {_MAY_CHANGE} "
            f"AND NOT (purged = 2 AND {_IS_NEEDED}) ORDER BY finished_at, seq"
        )
        runs = [stored_run(row) for row in self._db.execute(query, values)]
        return runs, max(ends, default=None)

    @operation
    def remove(
        self, found: Sequence[StoredRun], before: str, *, outputs: bool, detail: dict[str, Any]
    ) -> Purged:
        values: dict[str, Any] = {"before": before, "outputs": outputs}
        with transaction(self._db):
            # Once more: since they were looked at, anything may have happened.
            values["found"] = orjson.dumps([run.seq for run in found]).decode()
            chosen = f"seq IN (SELECT value FROM json_each(:found)) AND {_MAY_CHANGE}"
            query = f"SELECT seq, run_id FROM runs WHERE {chosen} AND NOT {_IS_NEEDED}"
            gone = self._db.execute(query, values).fetchall()
            self._remove([row["seq"] for row in gone], [row["run_id"] for row in gone])
            query = f"UPDATE runs SET {_COMPACT} WHERE {chosen} AND purged = 0 RETURNING run_id"
            compact = [row["run_id"] for row in self._db.execute(query, values).fetchall()]
            self._delete(["traces"], "run_id", compact)
            purged = Purged(len(gone), len(compact))
            if purged.runs:
                counts = {"removed": purged.removed, "compact": purged.compact, "before": before}
                add_act(self._db, Act("server", PURGE, "runs", counts | detail))
        return purged

    def _remove(self, numbers: Sequence[int], run_ids: Sequence[str]) -> None:
        query = "SELECT seq FROM replay_rejects WHERE run_id IN (SELECT value FROM json_each(?))"
        look_again(self._db, f"seq IN ({query})", [orjson.dumps(run_ids).decode()])
        self._delete(_BY_RUN, "run_id", run_ids)
        self._delete(_BY_NUMBER, "seq", numbers)

    def _delete(self, tables: Sequence[str], column: str, of: Sequence[int] | Sequence[str]) -> None:
        which = f"{column} IN (SELECT value FROM json_each(?))"
        for table in tables:
            self._db.execute(f"DELETE FROM {table} WHERE {which}", [orjson.dumps(of).decode()])


def look_again(db: sqlite3.Connection, which: str, values: Sequence[Any]) -> None:
    """Have the next purge look at compact runs once more, as part of a transaction."""
    db.execute(f"UPDATE runs SET purged = 2 WHERE purged = 1 AND {which}", values)


def superseded(db: sqlite3.Connection, run: StoredRun) -> None:
    """A run has output: earlier ones of its source may not be needed any more."""
    which = f"flow_version = ? AND source_key = ? AND seq < ? AND {_DONE}"
    look_again(db, which, [run.flow_version, run.source_key, run.seq])
