"""Counts of runs and their rows by the hour, and the runs that need attention.

Triggers keep them current in the same transaction as the runs, so reading them takes no longer with 100,000 runs.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Sequence

import orjson

from lume_local._runs.sql.operation import Sql, statement
from lume_local._runs.sql.tables import FLOW, USUAL
from lume_local._runs.store.records import Count

_DIMENSIONS = {
    "hour": "hour || ':00:00Z'",
    "day": "substr(hour, 1, 10) || 'T00:00:00Z'",
    "flow_version": "flow_version",
    "status": "status",
}
"""`records.DIMENSIONS` in SQL."""


class SqlStatistics:
    def __init__(self, sql: Sql) -> None:
        self.sql = sql

    @statement
    async def counts(
        self, by: Sequence[str], since: str | None, flow: str | None, *, worst_first: bool, limit: int
    ) -> list[Count]:
        """Count runs created in or after the hour of `since`, in groups.

        Args:
            worst_first: sort by the share of rejected rows instead of the dimensions.
        """
        where, values = ["true"], list[str | int]()
        if since is not None:
            where.append("hour >= ?")
            values.append(since[:13])
        if flow is not None:
            where.append("flow_version BETWEEN ? AND ?")
            values += flow_range(flow)
        groups = ", ".join(_DIMENSIONS[name] for name in by)
        order = ", ".join(str(number) for number in range(1, len(by) + 1))
        if worst_first:
            read = "CASE WHEN sum(rows_read) > 1 THEN sum(rows_read) ELSE 1 END"
            order = f"1.0 * sum(rows_rejected) / {read} DESC, {order}"
        rows = await self.sql.rows(
            f"SELECT {groups}, sum(runs), sum(rows_read), sum(rows_rejected) FROM run_counts "
            f"WHERE {' AND '.join(where)} GROUP BY {groups} HAVING sum(runs) > 0 ORDER BY {order} LIMIT ?",
            [*values, limit],
        )
        return [Count(dict(zip(by, row, strict=False)), *row[len(by) :]) for row in map(tuple, rows)]

    @statement
    async def last_figures(self, flow: str, limit: int) -> list[tuple[int, int]]:
        """Return the rows read and rejected by the latest runs with output, in any version, newest first.

        Runs that process rejects of others are omitted.
        """
        rows = await self.sql.rows(
            f"SELECT metrics FROM runs WHERE {FLOW} = ? AND {USUAL} ORDER BY seq DESC LIMIT ?", [flow, limit]
        )
        figures = [orjson.loads(row[0]) for row in rows]
        return [(one.get("rows_read", 0), one.get("rows_rejected", 0)) for one in figures]


def flow_range(flow: str) -> tuple[str, str]:
    """Return the least and greatest reference to a version of a flow, in binary order."""
    return f"{flow}:", f"{flow}:\U0010ffff"
