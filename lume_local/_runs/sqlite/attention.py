"""Which runs no longer need a person: their rejects were corrected by other runs, or somebody dismissed them.

Triggers keep this current in the same transaction as the runs (see `statistics` for the table `attention`).
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3

from lume_local._runs.audit import DISMISS, Act
from lume_local._runs.records import FollowUp
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.sqlite.sqlite_audit import add_act
from lume_local._runs.times import now_text

PARENT = "json_extract(new.run_metadata, '$.resubmit_of')"
"""The run whose rejects a new run processes, as `lume resubmit` and the console name it."""
_HAS_OUTPUT = "status IN ('SUCCEEDED', 'PARTIAL_FAILED')"
_MOST = 100

MENDS = f"""
CREATE TABLE IF NOT EXISTS mends (run_id TEXT PRIMARY KEY, parent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mends_of ON mends (parent);
CREATE TABLE IF NOT EXISTS dismissals (
    run_id TEXT PRIMARY KEY, why TEXT NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS mend_created AFTER INSERT ON runs
WHEN json_type(new.run_metadata, '$.resubmit_of') = 'text' BEGIN
    -- A failed attempt is settled by the next one.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM mends JOIN runs USING (run_id) WHERE parent = {PARENT} AND NOT {_HAS_OUTPUT}
    );
    INSERT OR IGNORE INTO mends VALUES (new.run_id, {PARENT});
    UPDATE runs SET rev = rev + 1 WHERE run_id = {PARENT};
END;
CREATE TRIGGER IF NOT EXISTS mend_ended AFTER UPDATE OF status ON runs
WHEN new.{_HAS_OUTPUT} AND EXISTS (SELECT 1 FROM mends WHERE run_id = new.run_id) BEGIN
    -- What they rejected again is among their own rejects.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM runs WHERE run_id = (SELECT parent FROM mends WHERE run_id = new.run_id) AND {_HAS_OUTPUT}
        AND json_extract(metrics, '$.rows_rejected') <= (
            SELECT sum(json_extract(mend.metrics, '$.rows_read')) FROM mends JOIN runs AS mend USING (run_id)
            WHERE parent = runs.run_id AND mend.{_HAS_OUTPUT}
        )
    );
END;
"""
"""This part of the schema."""


class SqliteAttention:
    """What people did about the runs of one state file."""

    def __init__(self, db: sqlite3.Connection, durability: Durability) -> None:
        self._db, self._durability = db, durability

    @operation
    def dismiss(self, run_id: str, why: str, by: str) -> None:
        """A person needs no more reminder of this run; it is submitted again as any other."""
        with transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO dismissals VALUES (?, ?, ?)", [run_id, why, now_text()])
            self._db.execute(
                "DELETE FROM attention WHERE seq = (SELECT seq FROM runs WHERE run_id = ?)", [run_id]
            )
            self._db.execute("UPDATE runs SET rev = rev + 1 WHERE run_id = ?", [run_id])
            add_act(self._db, Act(by, DISMISS, run_id, {"why": why}))
        self._durability.wanted()

    @operation
    def of(self, run_id: str) -> FollowUp:
        """What was done about a run, and which run it is about itself."""
        parent = self._db.execute("SELECT parent FROM mends WHERE run_id = ?", [run_id]).fetchone()
        mends = self._db.execute(
            "SELECT run_id FROM mends JOIN runs USING (run_id) WHERE parent = ? ORDER BY seq DESC LIMIT ?",
            [run_id, _MOST],
        ).fetchall()
        dismissed = self._db.execute("SELECT why, at FROM dismissals WHERE run_id = ?", [run_id]).fetchone()
        return FollowUp(
            parent and parent[0], tuple(run for (run,) in map(tuple, mends)), dismissed and dict(dismissed)
        )
