"""The tasks on staged rows: a shard's mapped rows as a file, column statistics, and repeated unique values.

All rows with the same value are in the part given by the value's hash, in the order of the source; the rules are the
same as in a single worker.
"""

# ruff: noqa: S608 - the parts of its SQL are quoted, numbers, or of other modules.
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._shared.commit import sync_file
from lume_local._worker.duplicates import later_ones
from lume_local._worker.profile import profile, unmet
from lume_local._worker.shards.access import database, job_of, new_folder
from lume_local._worker.shards.shards import layout_of
from lume_local._worker.sources.source import Pause
from lume_local._worker.sql import copy_to, text
from lume_local._worker.statements import Statements

_WITHOUT_HEADER = {".csv": "FORMAT csv, HEADER false"}


def can_be_joined(suffix: str) -> bool:
    """Return whether the concatenated files of all shards are one file of this format."""
    return suffix in (".csv", ".ndjson")


def build(argument: dict[str, Any]) -> dict[str, Any]:
    """Task: write the mapped rows of the shard `number` to a durable file, for the target or `joined`."""
    job, run_folder, suffix = job_of(argument), Path(argument["folder"]), argument["suffix"]
    path = new_folder(run_folder, "build") / f"part{suffix}"
    statements = Statements(job.flow, layout_of(argument["layout"]))
    first, end = argument["rows"]
    query = statements.mapped(argument["staged"], argument["duplicates"] is not None)
    with database(job, run_folder) as (connection, _):
        _take_duplicates(connection, argument["duplicates"], f"n >= {first} AND n < {end}")
        rows = copy_to(connection, query, path, _WITHOUT_HEADER.get(suffix) if argument["number"] else None)
    sync_file(path)
    return {"path": str(path), "rows": rows}


def joined(files: Sequence[Path], target: Path, pause: Pause) -> Path:
    """Concatenate the files into one durable file, and delete them."""
    with files[0].open("ab") as out:
        for path in files[1:]:
            pause()
            with path.open("rb") as file:
                shutil.copyfileobj(file, out, 4 * 1024 * 1024)
            path.unlink()
    files[0].rename(target)
    sync_file(target)
    return target


def measure(argument: dict[str, Any]) -> dict[str, Any]:
    """Task: return statistics of some `columns` or, if `counts` are given, the expectations that are not met."""
    job, run_folder = job_of(argument), Path(argument["folder"])
    mapped = argument["mapped"]
    with database(job, run_folder) as (connection, _):
        _take_duplicates(connection, argument["duplicates"])
        if "counts" in argument:
            return {"unmet": unmet(connection, job.flow["expect"], mapped, argument["counts"])}
        wanted = [column for column in job.flow["columns"] if column["name"] in argument["columns"]]
        return {"columns": profile(connection, {"columns": wanted}, mapped)}


def _take_duplicates(connection: DuckDBPyConnection, path: str | None, rows: str = "true") -> None:
    """Create the coordinator's table `_lume_duplicates` with these rows only; no table if it has none."""
    if path is not None:
        connection.execute(
            f"CREATE TEMP TABLE _lume_duplicates AS SELECT * FROM read_parquet({text(path)}) WHERE {rows}"
        )


def find_twins(argument: dict[str, Any]) -> dict[str, Any]:
    """Task: find the rows that share a value, in one part of a column's values.

    If it is the only unique column, return the later rows; else return all, with the first row's number for each.
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
    """Return a query for the duplicates of the only unique column."""
    return f"SELECT n, bits FROM {_all(results)}"


def shared_rows(results: Iterable[dict[str, Any]], columns: int) -> str:
    """Return a query for the rows that share a value in any of several columns, and the first row of each."""
    firsts = ", ".join(f"max(CASE WHEN k = {k} THEN first END) AS first{k}" for k in range(columns))
    return f"SELECT n, {firsts} FROM {_all(results)} GROUP BY n ORDER BY n"


def _all(results: Iterable[dict[str, Any]]) -> str:
    return f"read_parquet([{', '.join(text(result['path']) for result in results)}])"
