"""Rows that repeat a unique value of an earlier row: tasks over parts of the values, the same rules as one worker's.

All rows with the same value are in the part that the hash of that value says, in the order of the source.
"""

# ruff: noqa: S608 - the parts of its SQL are quoted, numbers, or of other modules.
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lume_local._flow.definition import quoted
from lume_local._shards.access import database, job_of, new_folder
from lume_local._worker.compiler.checks import text
from lume_local._worker.duplicates import later_ones
from lume_local._worker.targets.copy_to import copy_to


def find_twins(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: the rows of one part of a column's values that share theirs.

    Of the only unique column these are the later ones; of several, all, with the number of the first row each.
    """
    job, run_folder = job_of(argument), Path(argument["folder"])
    folder, name = new_folder(run_folder, "twins"), argument["column"]
    path, key = folder / "twins.parquet", quoted(name)
    here = f"hash({key}) % {argument['of']} = {argument['part']}"
    rows = f"(SELECT * FROM {argument['staged']} WHERE {here})"
    query = later_ones(rows, name) if argument["is_only"] else _firsts(rows, name, argument["number"])
    with database(job, run_folder) as (connection, _):
        copy_to(connection, query, path)
    return {"path": str(path)}


def _firsts(rows: str, name: str, number: int) -> str:
    key = quoted(name)
    return (
        f"SELECT n, {number} AS k, first FROM (SELECT file_row_number AS n, "
        f"min(file_row_number) OVER (PARTITION BY {key}) AS first, count(*) OVER (PARTITION BY {key}) AS times "
        f"FROM {rows} WHERE NOT _lume_reject AND {key} IS NOT NULL) WHERE times > 1"
    )


def later_rows(results: Iterable[dict[str, Any]]) -> str:
    """A query for the duplicates of the only unique column."""
    return f"SELECT n, bits FROM {_all(results)}"


def shared_rows(results: Iterable[dict[str, Any]], columns: int) -> str:
    """A query for the rows that share a value in any of several columns, and the first row of each."""
    firsts = ", ".join(f"max(CASE WHEN k = {k} THEN first END) AS first{k}" for k in range(columns))
    return f"SELECT n, {firsts} FROM {_all(results)} GROUP BY n ORDER BY n"


def _all(results: Iterable[dict[str, Any]]) -> str:
    return f"read_parquet([{', '.join(text(result['path']) for result in results)}])"
