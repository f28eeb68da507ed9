"""Finds the current rows of a flow: each row once, in its newest version.

The last run on a whole source replaces the rows of earlier runs on it, and on their rejects. A run on rejects has its
rows in the order of the rejects, so that their position tells them apart.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from anyio.to_thread import run_sync

from lume_local._runs.sources.paths import REPLAY, UPLOAD
from lume_local._runs.sql.operation import Row, SqlPart, reading
from lume_local._runs.sql.run_rows import flow_range
from lume_local._runs.store.ledger import TAKEN, Claim
from lume_local._runs.store.records import WITH_OUTPUT
from lume_local._shared.row_set import of_text, ranked, unpacked

# SQLite keeps the order of a cross join, and uses no index for an expression: what other flows have costs nothing.
_FLOW = "flow_version BETWEEN ? AND ?"
_CLOSED = f"FROM runs CROSS JOIN closings AS c WHERE c.seq = runs.seq AND {_FLOW} AND state IN {TAKEN}"
_REPLAYED = f"FROM runs CROSS JOIN replay_rejects AS r WHERE r.seq = runs.seq AND {_FLOW}"
_DONE = f"coalesce(status, '') IN {WITH_OUTPUT}"
# A mend outlasts the run that it names; what is no ID of a run is somebody's own metadata.
_RUNS = f"""
SELECT run_id, flow_version, finished_at, json_extract(target_locations, '$.mapped') AS location,
    (SELECT identity FROM outputs WHERE outputs.run_id = runs.run_id AND part = 'mapped') AS identity,
    CAST(json_extract(metrics, '$.rows_mapped') AS INTEGER) AS rows,
    json_extract(metrics, '$.accepted_rejects') AS accepted, seq, source_path, source_key, parent
FROM runs LEFT JOIN (SELECT run_id AS mend, parent FROM mends WHERE parent LIKE 'run_%') AS mends ON mend = run_id
WHERE run_id IN (
    SELECT run_id FROM runs WHERE {_FLOW}
    UNION SELECT by {_CLOSED}
    UNION SELECT run_id FROM mends WHERE parent IN (
        SELECT run_id FROM runs WHERE {_FLOW} UNION SELECT r.run_id {_REPLAYED}
    )
) AND {_DONE} AND finished_at <= ? ORDER BY seq
"""
_ALWAYS = "9999"
Rejects = list[tuple[int, int]]
"""The number of a run with a set of its rejects, for several runs."""


class Mixed(Exception):
    """The rows of this run, which took rejects of others, can't be told apart."""


class MendPurged(Exception):
    """This run, which accepted rows of the table, is not known any more."""


class TablePart(NamedTuple):
    """The rows of a run but those `left_out`, a set; `identity` is empty once its output was removed."""

    run_id: str
    flow_version: str
    finished_at: str
    location: str
    identity: str | None
    rows: int
    left_out: int

    @property
    def kept(self) -> int:
        return self.rows - self.left_out.bit_count()


def parts_queries(flow: str, at: str | None) -> list[tuple[str, Sequence[Any]]]:
    """Return the queries for runs, for the rejects that they took, and for those of replays, with their values."""
    of = flow_range(flow)
    return [
        (_RUNS, [*of, *of, *of, *of, at or _ALWAYS]),
        (f"SELECT by, c.seq, rows {_CLOSED} ORDER BY c.seq, id", of),
        (f"SELECT r.run_id, r.seq, start, rows {_REPLAYED} ORDER BY start", of),
    ]


class SqlTable(SqlPart):
    @reading
    async def parts(
        self, flow: str, source: str | None, at: str | None, place_of: Callable[[str], str]
    ) -> list[TablePart]:
        """Return the parts of a flow's table, now or at a time, perhaps of one source path.

        `place_of` turns the source key of a run into one that all readings of the source share. Raises `Mixed`,
        `MendPurged`.
        """
        runs, taken, replayed = await self.sql.many(*parts_queries(flow, at))

        def found() -> list[TablePart]:
            table = _Table({row["run_id"]: row for row in runs})
            for by, seq, rows in taken:
                table.taken[by].append((seq, unpacked(rows)))
            for run_id, seq, start, rows in replayed:
                table.replayed[run_id].append(Claim(seq, start, unpacked(rows)))
            return table.parts(source, place_of, is_now=at is None)

        return await run_sync(found)  # of 50,000 runs that takes a fifth of a second

    @reading
    async def is_purged(self, flow: str) -> bool:
        """Return whether runs with output were removed, so that earlier tables are unknown."""
        which, values = f"{_FLOW} AND {_DONE}", [*flow_range(flow)] * 2
        ended = f"SELECT coalesce(sum(runs), 0) FROM run_counts WHERE {which}"
        counts = await self.sql.one(f"SELECT ({ended}), (SELECT count(*) FROM runs WHERE {which})", values)
        return int(counts[0]) > int(counts[1])


class _Table:
    """The runs with output, oldest first, and the rejects that runs took, or that replays rejected again."""

    def __init__(self, runs: dict[str, Row]) -> None:
        self.runs = runs
        self.taken, self.replayed = defaultdict[str, Rejects](list), defaultdict[str, list[Claim]](list)

    def parts(self, source: str | None, place_of: Callable[[str], str], *, is_now: bool) -> list[TablePart]:
        newest = {place_of(row["source_key"]): row["seq"] for row in self.runs.values() if _is_whole(row)}
        current, kept = set[int](), list[Row]()
        for row in self.runs.values():
            if _is_whole(row):
                is_current = newest[place_of(row["source_key"])] == row["seq"] and source in (
                    None,
                    row["source_path"],
                )
            else:
                is_current = any(seq in current for seq, _ in self._rejects(row)[0])
            if is_current:
                current.add(row["seq"])
                kept.append(row)
        left_out, accepted = self._left_out(kept, current)
        for by in self.taken.keys() - self.runs.keys() if is_now else ():
            if any(seq in current and rows & ~accepted[seq] for seq, rows in self.taken[by]):
                raise MendPurged(by)
        parts = (TablePart._make((*tuple(row)[:6], left_out.get(row["seq"], 0))) for row in kept)
        return [part for part in parts if part.kept]

    def _rejects(self, row: Row) -> tuple[Rejects, bool]:
        """Return the rejects that became rows of a run, and whether they are in the order of its rows."""
        taken, parent = self.taken[row["run_id"]], self.runs.get(row["parent"])
        if row["parent"] is None:
            return taken, sum(rows.bit_count() for _, rows in taken) == row["rows"]
        again = self.replayed[row["parent"]]
        if row["accepted"] is None:  # by an earlier release, or from a file that names no rejects
            own = [(claim.seq, 0) for claim in again] or [(parent["seq"], 0)] if parent else []
            return [*taken, *own], False
        accepted = orjson.loads(row["accepted"])
        rows = of_text(accepted["rows"])
        own = [(claim.seq, claim.own(rows)) for claim in again] or [(parent["seq"], rows)] if parent else []
        # A row of a person who was forgotten is in the set, but not in the output.
        return own, accepted["placed"] and rows.bit_count() == row["rows"]

    def _left_out(self, kept: list[Row], current: set[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Return which rows of runs on rejects are not in the table: those replaced, or accepted again later.

        And which rejects of each run these runs took.
        """
        found = defaultdict[int, int](int)
        seen, unplaced, accepted = (defaultdict[int, int](int) for _ in range(3))
        for row in (one for one in reversed(kept) if not _is_whole(one)):
            rejects, placed = self._rejects(row)
            start = 0
            for seq, rows in rejects:
                gone = rows & seen[seq] if seq in current else rows
                if rows & unplaced[seq] or (not placed and (gone or seq not in current)):
                    raise Mixed(row["run_id"])
                found[row["seq"]] |= ranked(gone, rows) << start
                start += rows.bit_count()
                (seen if placed else unplaced)[seq] |= rows
                accepted[seq] |= rows
        return found, accepted


def _is_whole(row: Row) -> bool:
    return row["parent"] is None and not row["source_path"].startswith(UPLOAD + REPLAY)
