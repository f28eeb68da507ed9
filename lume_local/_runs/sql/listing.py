"""Which runs a page of the list holds, as SQL. Pure."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Collection
from typing import Any

from lume_async.models import RunStatus
from lume_local._runs.sql.operation import Sql, marks
from lume_local._runs.sql.statistics import flow_range
from lume_local._runs.store.records import RunFilter


def selected(wanted: RunFilter, before: int | None, limit: int, sql: Sql) -> tuple[str, list[Any]]:
    """The condition for a page of runs, older than the run with sequence number `before`, and its values."""
    if _is_grouped(wanted):
        return _grouped(wanted, before, limit, sql)
    where, values = _conditions(wanted)
    if before is not None:
        where.append("seq < ?")
        values.append(before)
    condition = " AND ".join(where)
    if not where:
        return "true", values
    # Many runs may have to be passed over: in an index, since the rows themselves are large.
    is_search = wanted.source is not None or wanted.since is not None
    index = sql.listing_index if is_search else ""
    found = f"SELECT seq FROM runs {index} WHERE {condition} ORDER BY seq DESC LIMIT ?"
    return f"seq IN ({found})", [*values, limit]


def _is_grouped(wanted: RunFilter) -> bool:
    """Whether the runs are those of some flow versions in some statuses."""
    searches = (wanted.source_path, wanted.source, wanted.since, wanted.attention, wanted.submitted_by)
    one = wanted.flow_version is not None
    return searches == (None,) * len(searches) and (
        wanted.flow is not None or (one and bool(wanted.statuses))
    )


def _grouped(wanted: RunFilter, before: int | None, limit: int, sql: Sql) -> tuple[str, list[Any]]:
    """The newest runs of each version and status, from which the page is taken: no others are passed over."""
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
    """The condition for the newest runs of files of these arrivals, of which there must be one; its values."""
    found = (
        f"WITH names (name) AS (VALUES {', '.join(['(?)'] * len(arrivals))}) "
        f"{sql.newest_of_each('names', 'arrival = name')} ORDER BY seq DESC LIMIT ?"
    )
    return f"seq IN ({found})", [*arrivals, limit, limit]


def _conditions(wanted: RunFilter) -> tuple[list[str], list[Any]]:
    where, values = list[str](), list[Any]()
    for condition, value in (
        ("flow_version = ?", wanted.flow_version),
        ("source_path = ?", wanted.source_path),
        ("submitted_by = ?", wanted.submitted_by),
        ("instr(source_path, ?) > 0", wanted.source),
        ("created_at >= ?", wanted.since),
        ("seq IN (SELECT seq FROM attention WHERE ratio > ?)", wanted.attention),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if wanted.flow is not None:
        where.append("flow_version BETWEEN ? AND ?")
        values += flow_range(wanted.flow)
    if wanted.statuses:
        where.append(f"status IN ({marks(wanted.statuses)})")
        values += wanted.statuses
    return where, values
