"""Tables beside the runs: identities of sources and outputs, follow-ups by people, counts."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Sequence

import orjson

from lume_local._runs.sql.ledger_entries import LedgerEntries
from lume_local._runs.sql.operation import Sql, SqlPart, change_all, statement, writing
from lume_local._runs.sql.run_rows import flow_range
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.sql.sql_purge import look_again
from lume_local._runs.sql.tables import DONE, FLOW, USUAL
from lume_local._runs.store.audit import DISMISS, Act
from lume_local._runs.store.records import LAYOUT, Count, FollowUp, StoredRun
from lume_local._runs.times import now_text
from lume_local._shared.identity import SourceContent

_NOTE_SOURCE = """
INSERT INTO sources VALUES (?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET bytes = excluded.bytes, seen = excluded.seen, digest = excluded.digest
"""


class SqlOutputs:
    """The table `outputs`: for each run and part (`mapped`, `rejects`) the identity of its file."""

    def __init__(self, sql: Sql, ledger: LedgerEntries) -> None:
        self.sql, self._ledger = sql, ledger

    async def note(self, run_id: str, identities: dict[str, str]) -> None:
        """Store the outputs of a run; part of the transaction that ends the run."""
        rows = [(run_id, part, identity) for part, identity in identities.items()]
        query = "INSERT INTO outputs VALUES {} ON CONFLICT (run_id, part) DO UPDATE SET identity = excluded.identity"
        await change_all(self.sql, query, rows)

    @statement
    async def written_before(self, before: str, limit: int) -> list[tuple[str, str, str, str]]:
        """Return files of runs that ended before a time: run, part, identity, and the run's locations as JSON.

        Objects are omitted: the owner of an object store removes them.
        """
        query = (
            "SELECT run_id, part, identity, target_locations FROM outputs JOIN runs USING (run_id) "
            "WHERE identity != '' AND finished_at < ? "
            "AND coalesce(json_extract(target_locations, '$.' || part), '') NOT LIKE '__://%' LIMIT ?"
        )
        rows = await self.sql.rows(query, [before, limit])
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    @writing
    async def forget(self, run_id: str, part: str) -> int:
        """Record that the output is removed: a file there is another one. Return how many open rows are lost."""
        await self.sql.change(
            "UPDATE outputs SET identity = '' WHERE run_id = ? AND part = ?", [run_id, part]
        )
        await look_again(self.sql, "run_id = ?", [run_id])
        if part == "rejects":
            return await self._ledger.set_lost(run_id, is_lost=True)
        return 0

    @statement
    async def identity(self, run_id: str, part: str) -> str | None:
        """Return the identity of an output, empty once removed; None if it is not a file, such as table rows."""
        query = "SELECT identity FROM outputs WHERE run_id = ? AND part = ?"
        row = await self.sql.row(query, [run_id, part])
        return None if row is None else str(row[0])


class SqlSources(SqlPart):
    """The table `sources`, and the columns in the metrics of runs."""

    async def note(self, run_id: str, content: SourceContent) -> None:
        """Store the source content of a run; part of the transaction that ends the run."""
        values = [run_id, content.bytes, content.seen, content.digest]
        await self.sql.change(_NOTE_SOURCE, values)

    @statement
    async def read_by(self, run_id: str) -> SourceContent | None:
        """Return the identity of the content that a run has read; None if it was not recorded."""
        query = "SELECT bytes, seen, digest FROM sources WHERE run_id = ?"
        row = await self.sql.row(query, [run_id])
        return None if row is None else SourceContent(*row)

    @statement
    async def last_headers(self, flow_version: str, *, layouts: int = 0) -> dict[str, list[str]]:
        """Return the columns read by the latest run with output, by an empty name, if they are known.

        Args:
            layouts: the number of the version's layouts: if it has any, the latest columns of each are found among
                those of its latest runs.
        """
        most = _MOST if layouts else 1
        query = f"SELECT metrics FROM runs WHERE flow_version = ? AND {DONE} ORDER BY seq DESC LIMIT {most}"
        found = dict[str, list[str]]()
        for (metrics,) in await self.sql.rows(query, [flow_version]):
            source = orjson.loads(metrics)["source"]
            for layout, one in source.get("layouts", {"": source}).items():
                if "header" in one:
                    found.setdefault(layout, one["header"])
            if len(found) >= layouts:
                break
        return found


_MOST = 100
_FOLLOW_UP = f"""
SELECT 'note' AS what, note AS value, '' AS at, 0 AS place FROM notes WHERE run_id = ?
UNION ALL SELECT 'mends', parent, '', 0 FROM mends WHERE run_id = ?
UNION ALL SELECT 'dismissed', why, at, 0 FROM dismissals WHERE run_id = ?
UNION ALL SELECT * FROM (
    SELECT 'mended_by' AS what, run_id, '' AS at, seq FROM mends JOIN runs USING (run_id)
    WHERE parent = ? ORDER BY seq DESC LIMIT {_MOST}
) AS mended
ORDER BY place DESC
"""
"""One statement, since every status poll needs it."""


class SqlAttention(SqlPart):
    """Follow-ups on runs: a run no longer needs attention once its rejects are corrected or it is dismissed.

    Triggers keep that current in the same transaction as the runs.
    """

    @writing
    async def dismiss(self, run_id: str, why: str, by: str) -> None:
        """Stop reminding people of this run; it can be resubmitted like any other."""
        await self.sql.change(
            "INSERT INTO dismissals VALUES (?, ?, ?) "
            "ON CONFLICT (run_id) DO UPDATE SET why = excluded.why, at = excluded.at",
            [run_id, why, now_text()],
        )
        await self.sql.change(
            "DELETE FROM attention WHERE seq = (SELECT seq FROM runs WHERE run_id = ?)", [run_id]
        )
        await self.sql.change("UPDATE runs SET rev = rev + 1 WHERE run_id = ?", [run_id])
        await add_act(self.sql, Act(by, DISMISS, run_id, {"why": why}))
        self.sql.must_last()

    @statement
    async def of(self, run_id: str) -> FollowUp:
        """Return the notes and follow-ups on a run, and the run that it follows up itself."""
        found = dict[str, list[tuple[str, str]]]()
        for what, value, at, _ in await self.sql.rows(_FOLLOW_UP, [run_id] * 4):
            found.setdefault(what, []).append((value, at))
        notes, mended_by = (
            tuple(value for value, _ in found.get(what, ())) for what in ("note", "mended_by")
        )
        ((mends, _),) = found.get("mends", [(None, "")])
        dismissed = [{"why": why, "at": at} for why, at in found.get("dismissed", ())]
        return FollowUp(notes, mends, mended_by, dismissed[0] if dismissed else None)


_DIMENSIONS = {
    "hour": "hour || ':00:00Z'",
    "day": "substr(hour, 1, 10) || 'T00:00:00Z'",
    "flow_version": "flow_version",
    "status": "status",
    LAYOUT: "layout",
}
"""`records.DIMENSIONS` in SQL."""
_COUNT_LAYOUTS = """
INSERT INTO layout_counts VALUES {} ON CONFLICT (hour, flow_version, status, layout) DO UPDATE SET
runs = layout_counts.runs + excluded.runs, files = layout_counts.files + excluded.files,
rows_read = layout_counts.rows_read + excluded.rows_read,
rows_rejected = layout_counts.rows_rejected + excluded.rows_rejected
"""


class SqlStatistics(SqlPart):
    """Counts of runs and their rows by the hour.

    Triggers, and `note_layouts`, keep them current in the same transaction as the runs, so reading them takes no
    longer with 100,000 runs.
    """

    async def note_layouts(self, run: StoredRun) -> None:
        """Count the layouts of an ended run's files; part of the transaction that ends it."""
        group = run.created_at[:13], run.flow_version, run.status
        found = (run.metrics.get("source") or {}).get("layouts") or {}
        # Sorted, so that two transactions lock them in the same order.
        rows = [
            (*group, name, 1, one["files"], one["rows_read"], one.get("rows_rejected", 0))
            for name, one in sorted(found.items())
        ]
        await change_all(self.sql, _COUNT_LAYOUTS, rows)

    @statement
    async def counts(
        self, by: Sequence[str], since: str | None, flow: str | None, *, worst_first: bool, limit: int
    ) -> list[Count]:
        """Count runs created in or after the hour of `since`, in groups. By layout, a run counts for each of its own.

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
        table, files = ("layout_counts", "sum(files)") if LAYOUT in by else ("run_counts", "NULL")
        rows = await self.sql.rows(
            f"SELECT {groups}, sum(runs), sum(rows_read), sum(rows_rejected), {files} FROM {table} "
            f"WHERE {' AND '.join(where)} GROUP BY {groups} HAVING sum(runs) > 0 ORDER BY {order} LIMIT ?",
            [*values, limit],
        )
        return [Count(dict(zip(by, row, strict=False)), *row[len(by) :]) for row in map(tuple, rows)]

    @statement
    async def last_figures(self, flow: str, limit: int) -> list[tuple[int, int]]:
        """Return the rows read and rejected by the latest runs with output, in any version, newest first.

        Runs that process rejects of others are omitted.
        """
        # Here: fetching and decoding the metrics, mostly of columns, takes longer.
        read, rejected = (
            f"coalesce(json_extract(metrics, '$.{name}'), '0')" for name in ("rows_read", "rows_rejected")
        )
        usual = f"{USUAL} AND coalesce(json_type(run_metadata, '$.mend'), '') != 'object'"
        query = f"SELECT {read}, {rejected} FROM runs WHERE {FLOW} = ? AND {usual} ORDER BY seq DESC LIMIT ?"
        return [(int(row[0]), int(row[1])) for row in await self.sql.rows(query, [flow, limit])]
