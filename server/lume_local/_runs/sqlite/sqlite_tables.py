"""The parts of the state's tables that only SQLite has: the feed's table, and triggers.

They keep counts, and the runs that need attention, in the same transaction as the runs.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
from lume_local._runs.sql.tables import DONE, LONGEST_ID, SERIOUS
from lume_local._runs.store.audit import KEPT_AT_LEAST
from lume_local._runs.store.records import WHOLE

CHANGES = """
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    finished_at TEXT,
    at TEXT NOT NULL
) STRICT;
"""
"""The table of the feed."""

_READ = "coalesce(json_extract(metrics, '$.rows_read'), 0)"
_REJECTED = "coalesce(json_extract(metrics, '$.rows_rejected'), 0)"


def _of(row: str, expression: str) -> str:
    """Return an expression over the columns of a trigger's row."""
    return expression.replace("metrics", f"{row}.metrics")


def _counted(row: str, sign: str) -> str:
    return f"""
    INSERT INTO run_counts VALUES (
        substr({row}.created_at, 1, 13), {row}.flow_version, {row}.status,
        {sign}1, {sign}{_of(row, _READ)}, {sign}{_of(row, _REJECTED)}
    ) ON CONFLICT DO UPDATE SET
        runs = runs + excluded.runs,
        rows_read = rows_read + excluded.rows_read,
        rows_rejected = rows_rejected + excluded.rows_rejected;
    """


_RATIO = f"iif(status = 'PARTIAL_FAILED', 1.0 * {_REJECTED} / max({_READ}, 1), {WHOLE})"
_NOTED = f"""
    INSERT OR REPLACE INTO attention
    SELECT flow_version, source_key, seq, {_RATIO} FROM runs WHERE seq = new.seq AND status IN {SERIOUS};
"""

COUNTING = f"""
CREATE TRIGGER run_created AFTER INSERT ON runs BEGIN
    {_counted("new", "")}
    DELETE FROM attention WHERE flow_version = new.flow_version AND source_key = new.source_key;
    {_NOTED}
END;
CREATE TRIGGER run_changed AFTER UPDATE OF status, metrics ON runs BEGIN
    {_counted("old", "-")} {_counted("new", "")}
END;
CREATE TRIGGER run_ended AFTER UPDATE OF status ON runs WHEN new.status IN {SERIOUS} BEGIN
    {_NOTED}
END;
"""
"""Triggers that fill the tables of `tables.COUNTS`."""

PARENT = "json_extract(new.run_metadata, '$.resubmit_of')"
"""The run whose rejects a new run processes, as named by `lume resubmit` and the console."""

MENDING = f"""
CREATE TRIGGER IF NOT EXISTS mend_created AFTER INSERT ON runs
WHEN json_type(new.run_metadata, '$.resubmit_of') = 'text' AND length({PARENT}) <= {LONGEST_ID} BEGIN
    -- A failed attempt is settled by the next one.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM mends JOIN runs USING (run_id) WHERE parent = {PARENT} AND NOT {DONE}
    );
    INSERT OR IGNORE INTO mends VALUES (new.run_id, {PARENT});
    UPDATE runs SET rev = rev + 1 WHERE run_id = {PARENT};
END;
CREATE TRIGGER IF NOT EXISTS mend_ended AFTER UPDATE OF status ON runs
WHEN new.{DONE} AND EXISTS (SELECT 1 FROM mends WHERE run_id = new.run_id) BEGIN
    -- What they rejected again is among their own rejects.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM runs WHERE run_id = (SELECT parent FROM mends WHERE run_id = new.run_id) AND {DONE}
        AND json_extract(metrics, '$.rows_rejected') <= (
            SELECT sum(json_extract(mend.metrics, '$.rows_read')) FROM mends JOIN runs AS mend USING (run_id)
            WHERE parent = runs.run_id AND mend.{DONE}
        )
    );
END;
"""
"""Triggers that fill the table `mends` (`tables.MENDS`), and clear the attention of runs settled by that."""

_YOUNG = f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{KEPT_AT_LEAST:.0f} seconds')"
NEVER_CHANGED = """
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is never changed');
END;
"""
AUDITING = f"""{NEVER_CHANGED}
-- INSERT OR REPLACE would delete an entry without a trigger.
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = new.seq) BEGIN
    SELECT raise(ABORT, 'the audit is never changed');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN old.at >= {_YOUNG} OR old.seq > (SELECT min(seq) FROM audit) BEGIN
    SELECT raise(ABORT, 'the audit loses only its oldest entries, and no young one');
END;
"""
"""Triggers that keep entries of `tables.AUDIT` unchanged."""
