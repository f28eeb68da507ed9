"""The profile of the mapped columns, and the flow's expectations for the run as a whole."""

# ruff: noqa: S608 - the parts of its SQL are compiled, quoted or numbers.
from collections.abc import Sequence
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_local._flow.definition import quoted
from lume_local._worker.sql import row_of

COUNTS = ("rows_read", "rows_mapped", "rows_rejected")
"""Names that an expectation may use besides the columns."""
_AT_ONCE = 1000
"""Columns per statement: planning aggregates takes time with the square of their number."""


def profile(
    connection: DuckDBPyConnection, flow: dict[str, Any], mapped: str, unique: Sequence[str] = ()
) -> tuple[dict[str, Any], bool]:
    """Return `metrics.columns`, and whether no value of these unique columns is repeated.

    `mapped` is a query for the mapped rows.
    """
    found, is_unique = dict[str, Any](), True
    exact = {one["column"] for one in flow["whole"] if one["kind"] == "distinct"}
    for start in range(0, len(flow["columns"]), _AT_ONCE):
        columns = flow["columns"][start : start + _AT_ONCE]
        once = [quoted(column["name"]) for column in columns if column["name"] in unique]
        items = [
            " AND ".join(f"count(DISTINCT {name}) = count({name})" for name in once) or "true",
            "count(*)",
        ]
        for column in columns:
            name = quoted(column["name"])
            ends = [f"min({name})::VARCHAR", f"max({name})::VARCHAR"] if column["ordered"] else []
            how = "count(DISTINCT " if column["name"] in exact else "approx_count_distinct("
            items += [f"count({name})", f"{how}{name})", *ends]
        is_once, rows, *rest = row_of(connection, f"SELECT {', '.join(items)} FROM ({mapped})")
        is_unique, answers = is_unique and is_once, iter(rest)
        for column in columns:
            values = next(answers)
            distinct = min(values, next(answers))  # it may be an estimate
            extremes = (next(answers), next(answers)) if column["ordered"] else (None, None)
            least, most = (end if end is None else elided(end) for end in extremes)
            found[column["name"]] = {"nulls": rows - values, "min": least, "max": most, "distinct": distinct}
    return found, is_unique


def question(expression: str, mapped: str, counts: dict[str, int]) -> str:
    """Return a query for the value of an expression over all mapped rows."""
    # The counts are columns of the outer query, and so constants for the aggregates of the inner one.
    numbers = ", ".join(f"{counts[name]}::BIGINT AS {name}" for name in COUNTS)
    inner = f"SELECT {{'v': (\n{expression}\n), '_lume_count': count(*)}} FROM ({mapped})"
    return f"SELECT struct_extract((SELECT * FROM ({inner})), 'v') AS v FROM (SELECT {numbers})"


def unmet(
    connection: DuckDBPyConnection, expect: list[dict[str, str]], mapped: str, counts: dict[str, int]
) -> list[dict[str, str]]:
    """Return the expectations that are not met or can't be evaluated."""
    return [one for one in expect if not _holds(connection, question(one["sql"], mapped, counts))]


def _holds(connection: DuckDBPyConnection, query: str) -> bool:
    try:
        return row_of(connection, query)[0] is True
    except (duckdb.DataError, duckdb.InvalidInputException):  # caused by its values: a cast, a logarithm
        return False
