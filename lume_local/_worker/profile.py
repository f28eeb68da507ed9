"""What is in the columns of the mapped rows, and whether that is what the flow expects of the run as a whole."""

# ruff: noqa: S608 - the parts of its SQL are compiled, quoted or numbers.
from collections.abc import Sequence
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._worker.statements import count_of

COUNTS = ("rows_read", "rows_mapped", "rows_rejected")
"""What an expectation may name beside the columns."""


def profile(connection: DuckDBPyConnection, flow: dict[str, Any], mapped: str) -> dict[str, Any]:
    """`metrics.columns`, from a query for the mapped rows."""
    row = connection.execute(f"SELECT {', '.join(profile_items(flow))} FROM ({mapped})").fetchone()
    assert row is not None
    return profiled(flow, row)


def profile_items(flow: dict[str, Any], only: str = "") -> list[str]:
    """What is asked of the rows, or only of those in which a condition holds."""
    rows = count_of(only) if only else "count(*)"
    items: list[str] = []
    for column in flow["columns"]:
        name, ends = quoted(column["name"]), ["NULL", "NULL"]
        if only:
            name = f"CASE WHEN {only} THEN {name} END"
        if column["ordered"]:
            ends = [f"min({name})::VARCHAR", f"max({name})::VARCHAR"]
        items += [f"{rows} - count({name})", *ends, f"approx_count_distinct({name})"]
    return items


def profiled(flow: dict[str, Any], row: Sequence[Any]) -> dict[str, Any]:
    """`metrics.columns`, from the answers to `profile_items`."""
    return {
        column["name"]: dict(zip(("nulls", "min", "max", "distinct"), row[4 * n : 4 * n + 4], strict=True))
        for n, column in enumerate(flow["columns"])
    }


def question(expression: str, mapped: str, counts: dict[str, int]) -> str:
    """A query for what an expression over all mapped rows is."""
    # The counts are columns of the outer query: to the inner one, of aggregates, they are constants.
    numbers = ", ".join(f"{counts[name]}::BIGINT AS {name}" for name in COUNTS)
    inner = f"SELECT {{'v': (\n{expression}\n), '_lume_count': count(*)}} FROM ({mapped})"
    return f"SELECT struct_extract((SELECT * FROM ({inner})), 'v') AS v FROM (SELECT {numbers})"


def unmet(
    connection: DuckDBPyConnection, expect: list[dict[str, str]], mapped: str, counts: dict[str, int]
) -> list[dict[str, str]]:
    """The expectations that do not hold, or can't be worked out."""
    return [one for one in expect if not _holds(connection, question(one["sql"], mapped, counts))]


def _holds(connection: DuckDBPyConnection, query: str) -> bool:
    try:
        row = connection.execute(query).fetchone()
    except (duckdb.DataError, duckdb.InvalidInputException):  # of its values: a cast, a logarithm
        return False
    return row is not None and row[0] is True
