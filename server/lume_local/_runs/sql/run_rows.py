"""Rows of runs: their conversion, and the ones of a page of the list. Pure."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Collection
from typing import Any

import orjson
from attrs import evolve, fields

from lume_async.models import RunStatus
from lume_local._runs.sql.operation import Row, Sql, given, marks
from lume_local._runs.sql.tables import FLOW
from lume_local._runs.store.records import RunFilter, StoredRun

_COMPUTED = {
    "seeds": "coalesce((SELECT seeds FROM seeds WHERE seeds.run_id = runs.run_id), '{}') AS seeds",
    "is_compact": "purged > 0 AS is_compact",
}
_COLUMNS: list[str] = [one.name for one in fields(StoredRun) if one.name != "is_plain"]
RUN_COLUMNS = ", ".join(_COMPUTED.get(name, name) for name in _COLUMNS)
"""The columns of a run, in the order of the fields of `StoredRun`."""
IS_PLAIN = " AND ".join(
    f"NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.{column} = runs.run_id)"
    for table, column in (
        ("notes", "run_id"),
        ("mends", "run_id"),
        ("dismissals", "run_id"),
        ("mends", "parent"),
    )
)
"""One more column: a poll of a run that has nothing beside it is one statement."""
JSON_COLUMNS = ("run_metadata", "stages", "metrics", "target_locations", "seeds")
_JSON, _FLAGS = (
    [_COLUMNS.index(name) for name in names] for names in (JSON_COLUMNS, ("force_rerun", "is_compact"))
)
IN_ORDER = "seq DESC"
"""The order of pages other than search results."""
_LATEST = "created_at DESC, seq DESC"
_BATCH = "substr(source_key, 1, instr(source_key || '#seeds:', '#seeds:') - 1)"


def _same(expression: str, column: str) -> str:
    """Return the condition that an expression over a column has the same value for `newer` as for `runs`."""
    ours, theirs = (expression.replace(column, f"{table}.{column}") for table in ("runs", "newer"))
    return f"{theirs} = {ours}"


# The path is the key's part that has an index; the trigger that compares keys knows no other version.
IS_LAST = f"""NOT EXISTS (
    SELECT 1 FROM runs AS newer WHERE newer.source_path = runs.source_path AND newer.seq > runs.seq
    AND {_same(FLOW, "flow_version")} AND {_same(_BATCH, "source_key")}
)"""
"""The runs whose source has no newer run of the same flow, in any version, and with any seeds or layout."""


def stored_run(row: Row) -> StoredRun:
    """Convert a row with `RUN_COLUMNS`, and perhaps `IS_PLAIN`, to its run."""
    values = [*row]  # by position: by name, this takes three times as long
    for place in _JSON:
        values[place] = orjson.loads(values[place])
    for place in _FLAGS:
        values[place] = bool(values[place])
    return StoredRun(*values)


def flow_range(flow: str) -> tuple[str, str]:
    """Return the least and greatest reference to a version of a flow, in binary order."""
    return f"{flow}:", f"{flow}:\U0010ffff"


# -- the list


def selected(wanted: RunFilter, before: int | None, limit: int, sql: Sql) -> tuple[str, list[Any], str]:
    """Return the condition for a page of runs after sequence number `before`, its values, and the order."""
    searches = (wanted.source_path, wanted.source, wanted.since, wanted.attention, wanted.submitted_by)
    by_version = wanted.flow is not None or (wanted.flow_version is not None and bool(wanted.statuses))
    if by_version and searches == (None,) * len(searches):
        return *_grouped(wanted, before, limit, sql), IN_ORDER
    if _is_search(wanted):
        return *_searched(wanted, before, limit, sql), _LATEST
    where, values = _conditions(wanted)
    if before is not None:
        where.append("seq < ?")
        values.append(before)
    if not where:
        return "true", values, IN_ORDER
    found = f"SELECT seq FROM runs WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
    return f"seq IN ({found})", [*values, limit], IN_ORDER


def _is_search(wanted: RunFilter) -> bool:
    """Return whether to search in the index `listing`."""
    if wanted.source_path is not None or wanted.attention is not None:  # these leave few
        return False
    others = (wanted.submitted_by, wanted.flow, wanted.flow_version)
    only_statuses = bool(wanted.statuses) and others == (None,) * len(others)
    return wanted.source is not None or wanted.since is not None or only_statuses


def _searched(wanted: RunFilter, before: int | None, limit: int, sql: Sql) -> tuple[str, list[Any]]:
    """Select the page from the latest runs of each status: the search ends with the page, or with `since`.

    Skipped runs are read in the index only, since the rows themselves are large. If a clock was set back, so that
    times and numbers disagree, the times decide.
    """
    where, values = _conditions(evolve(wanted, statuses=[]))
    if before is not None:  # it may have been removed meanwhile
        at = "SELECT created_at FROM runs WHERE seq >= ? ORDER BY seq LIMIT 1"
        where.append(f"(created_at, seq) < (coalesce(({at}), '~'), ?)")
        values += [before, before]
    statuses = [one for one in RunStatus if not wanted.statuses or one in wanted.statuses]
    latest = (
        f"SELECT * FROM (SELECT created_at, seq FROM runs {sql.listing_index} "
        f"WHERE {' AND '.join(['status = ?', *where])} ORDER BY {_LATEST} LIMIT ?) AS latest"
    )
    if not statuses:
        return "false", []
    found = " UNION ALL ".join([latest] * len(statuses))
    each = [value for status in statuses for value in (status, *values, limit)]
    return f"seq IN (SELECT seq FROM ({found}) AS found ORDER BY {_LATEST} LIMIT ?)", [*each, limit]


def _grouped(wanted: RunFilter, before: int | None, limit: int, sql: Sql) -> tuple[str, list[Any]]:
    """Select the page from the newest runs of each version and status; no other runs are read."""
    refs, values = list[str](), list[Any]()
    if wanted.flow is not None:
        refs.append("ref BETWEEN ? AND ?")
        values += flow_range(wanted.flow)
    if wanted.flow_version is not None:
        refs.append("ref = ?")
        values.append(wanted.flow_version)
    statuses = wanted.statuses or [*RunStatus]
    found = (
        f"WITH statuses (wanted) AS (VALUES {', '.join(['(?)'] * len(statuses))}), kinds (wanted, ref, bound) AS ("
        f"SELECT wanted, ref, ? FROM statuses CROSS JOIN flow_versions WHERE {' AND '.join(refs)}) "
        + sql.newest_of_each("kinds", "flow_version = ref AND status = wanted AND seq < bound")
        + " ORDER BY seq DESC LIMIT ?"
    )
    end = 2**63 - 1 if before is None else before
    return f"seq IN ({found})", [*statuses, end, *values, limit, limit]


def newest_arrived(arrivals: Collection[str], limit: int, sql: Sql) -> tuple[str, list[Any]]:
    """Return the condition for the newest runs of files of these arrivals (at least one), and its values."""
    found = (
        f"WITH names (name) AS (VALUES {', '.join(['(?)'] * len(arrivals))}) "
        f"{sql.newest_of_each('names', 'arrival = name')} ORDER BY seq DESC LIMIT ?"
    )
    return f"seq IN ({found})", [*arrivals, limit, limit]


def _conditions(wanted: RunFilter) -> tuple[list[str], list[Any]]:
    where, values = given(
        ("flow_version = ?", wanted.flow_version),
        ("source_path = ?", wanted.source_path),
        ("submitted_by = ?", wanted.submitted_by),
        ("instr(source_path, ?) > 0", wanted.source),
        ("created_at >= ?", wanted.since),
        (f"seq IN (SELECT seq FROM attention WHERE ratio > ?) AND {IS_LAST}", wanted.attention),
    )
    if wanted.flow is not None:
        where.append("flow_version BETWEEN ? AND ?")
        values += flow_range(wanted.flow)
    if wanted.statuses:
        where.append(f"status IN ({marks(wanted.statuses)})")
        values += wanted.statuses
    return where, values
