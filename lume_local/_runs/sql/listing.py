"""Which runs a page of the list holds, as SQL. Pure."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Collection
from typing import Any

from lume_async.models import RunStatus
from lume_local._runs.sql.operation import marks
from lume_local._runs.sql.statistics import flow_range
from lume_local._runs.store.records import RunFilter


def selected(wanted: RunFilter, before: int | None, limit: int, index: str) -> tuple[str, list[Any]]:
    """The condition for a page of runs, older than the run with sequence number `before`, and its values.

    Args:
        index: how the database is told to use the index `listing`.
    """
    if _is_grouped(wanted):
        return _grouped(wanted, before, limit)
    where, values = _conditions(wanted)
    if before is not None:
        where.append("seq < ?")
        values.append(before)
    condition = " AND ".join(where) or "true"
    is_searched = wanted.source is not None or wanted.since is not None
    if not is_searched and wanted.submitted_by is None:
        return condition, values
    # Many runs may have to be passed over: in an index, since the rows themselves are large.
    found = f"SELECT seq FROM runs {index if is_searched else ''} WHERE {condition} ORDER BY seq DESC LIMIT ?"
    return f"seq IN ({found})", [*values, limit]


def _is_grouped(wanted: RunFilter) -> bool:
    """Whether the runs are those of some flow versions in some statuses."""
    searches = (wanted.source_path, wanted.source, wanted.since, wanted.attention, wanted.submitted_by)
    one = wanted.flow_version is not None
    return searches == (None,) * len(searches) and (
        wanted.flow is not None or (one and bool(wanted.statuses))
    )


def _grouped(wanted: RunFilter, before: int | None, limit: int) -> tuple[str, list[Any]]:
    """The newest runs of each version and status, from which the page is taken: no others are passed over."""
    refs, values = ["true"], list[Any]()
    if wanted.flow is not None:
        refs.append("ref BETWEEN ? AND ?")
        values += flow_range(wanted.flow)
    if wanted.flow_version is not None:
        refs.append("ref = ?")
        values.append(wanted.flow_version)
    statuses = wanted.statuses or [*RunStatus]
    group = "flow_version = ref AND status = wanted AND seq < ?"
    newest = f"SELECT seq FROM runs WHERE {group} ORDER BY seq DESC LIMIT ?"
    found = (
        f"WITH statuses (wanted) AS (VALUES {', '.join(['(?)'] * len(statuses))}) "
        f"SELECT seq FROM statuses CROSS JOIN flow_versions CROSS JOIN runs WHERE {' AND '.join(refs)} "
        f"AND {group} AND seq >= (SELECT min(seq) FROM ({newest}) AS newest)"
    )
    end = 2**63 - 1 if before is None else before
    return f"seq IN ({found})", [*statuses, *values, end, end, limit]


def newest_arrived(arrivals: Collection[str], limit: int) -> tuple[str, list[Any]]:
    """The condition for the newest runs of files of these arrivals, of which there must be one; its values.

    With a range in place of an equation PostgreSQL, too, can only take them from the index: else it hopes to meet
    them among the newest runs, and reads all of them for a name that has few or none.
    """
    newest = "SELECT seq FROM runs WHERE arrival BETWEEN ? AND ? ORDER BY arrival DESC, seq DESC LIMIT ?"
    found = " UNION ALL ".join([f"SELECT seq FROM ({newest}) AS newest"] * len(arrivals))
    return f"seq IN ({found})", [value for name in arrivals for value in (name, name, limit)]


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
