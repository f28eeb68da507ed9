"""Counts of runs and their rows by the hour, and which runs need attention.

Triggers keep them current in the same transaction as the runs, so reading them takes no longer with 100,000 runs.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
from collections.abc import Sequence

from lume_local._runs.records import WHOLE, Count
from lume_local._runs.sqlite.operation import operation
from lume_local._runs.sqlite.schema import FLOW, USUAL

_READ = "coalesce(json_extract(metrics, '$.rows_read'), 0)"
_REJECTED = "coalesce(json_extract(metrics, '$.rows_rejected'), 0)"
_SERIOUS = "('FAILED', 'CRASHED', 'PARTIAL_FAILED')"


def _of(row: str, expression: str) -> str:
    """An expression over the columns of a trigger's row."""
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
    SELECT flow_version, source_key, seq, {_RATIO} FROM runs WHERE seq = new.seq AND status IN {_SERIOUS};
"""

COUNTS = f"""
CREATE TABLE run_counts (
    hour TEXT NOT NULL,
    flow_version TEXT NOT NULL,
    status TEXT NOT NULL,
    runs INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    rows_rejected INTEGER NOT NULL,
    PRIMARY KEY (hour, flow_version, status)
) STRICT, WITHOUT ROWID;
CREATE INDEX counts_by_flow ON run_counts (flow_version, hour);

CREATE TABLE attention (
    flow_version TEXT NOT NULL,
    source_key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ratio REAL NOT NULL,
    PRIMARY KEY (flow_version, source_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX attention_by_seq ON attention (seq, ratio);

CREATE TRIGGER run_created AFTER INSERT ON runs BEGIN
    {_counted("new", "")}
    DELETE FROM attention WHERE flow_version = new.flow_version AND source_key = new.source_key;
    {_NOTED}
END;
CREATE TRIGGER run_changed AFTER UPDATE OF status, metrics ON runs BEGIN
    {_counted("old", "-")} {_counted("new", "")}
END;
CREATE TRIGGER run_ended AFTER UPDATE OF status ON runs WHEN new.status IN {_SERIOUS} BEGIN
    {_NOTED}
END;

CREATE INDEX listing ON runs (created_at, status, flow_version, source_path);
CREATE INDEX deliveries_by_run ON deliveries (run_id);
"""
"""This part of the schema: tables, the triggers that fill them, and the indexes of the list of runs."""

_DIMENSIONS = {
    "hour": "hour || ':00:00Z'",
    "day": "substr(hour, 1, 10) || 'T00:00:00Z'",
    "flow_version": "flow_version",
    "status": "status",
}
"""`records.DIMENSIONS` in SQL."""


class SqliteStatistics:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @operation
    def counts(
        self, by: Sequence[str], since: str | None, flow: str | None, *, worst_first: bool, limit: int
    ) -> list[Count]:
        where, values = ["1"], list[str | int]()
        if since is not None:
            where.append("hour >= ?")
            values.append(since[:13])
        if flow is not None:
            where.append("flow_version BETWEEN ? AND ?")
            values += flow_range(flow)
        groups = ", ".join(_DIMENSIONS[name] for name in by)
        order = ", ".join(str(number) for number in range(1, len(by) + 1))
        if worst_first:
            order = f"1.0 * sum(rows_rejected) / max(sum(rows_read), 1) DESC, {order}"
        rows = self._db.execute(
            f"SELECT {groups}, sum(runs), sum(rows_read), sum(rows_rejected) FROM run_counts "
            f"WHERE {' AND '.join(where)} GROUP BY {groups} HAVING sum(runs) > 0 ORDER BY {order} LIMIT ?",
            [*values, limit],
        )
        return [Count(dict(zip(by, row, strict=False)), *row[len(by) :]) for row in map(tuple, rows)]

    @operation
    def last_figures(self, flow: str, limit: int) -> list[tuple[int, int]]:
        rows = self._db.execute(
            f"SELECT {_READ}, {_REJECTED} FROM runs WHERE {FLOW} = ? AND {USUAL} ORDER BY seq DESC LIMIT ?",
            [flow, limit],
        )
        return [(read, rejected) for read, rejected in map(tuple, rows)]


def flow_range(flow: str) -> tuple[str, str]:
    """The least and greatest reference to a version of a flow, in SQLite's order."""
    return f"{flow}:", f"{flow}:\U0010ffff"
