"""What is in the columns of all mapped rows, and whether the flow's expectations hold: a task looks at all rows."""

# ruff: noqa: S608 - the parts of its SQL are quoted.
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._shards.access import database, job_of
from lume_local._worker.compiler.checks import text
from lume_local._worker.profile import profile, unmet


def measure(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: statistics of some `columns`, or, where `counts` are given, the expectations that do not hold."""
    job, run_folder = job_of(argument), Path(argument["folder"])
    mapped = argument["mapped"]
    with database(job, run_folder) as (connection, _):
        take_duplicates(connection, argument["duplicates"])
        if "counts" in argument:
            return {"unmet": unmet(connection, job.flow["expect"], mapped, argument["counts"])}
        wanted = [column for column in job.flow["columns"] if column["name"] in argument["columns"]]
        return {"columns": profile(connection, {"columns": wanted}, mapped)}


def take_duplicates(connection: DuckDBPyConnection, path: str | None, rows: str = "true") -> None:
    """Make the table `_lume_duplicates` as the coordinator has it, of those rows only; none where it has none."""
    if path is not None:
        connection.execute(
            f"CREATE TEMP TABLE _lume_duplicates AS SELECT * FROM read_parquet({text(path)}) WHERE {rows}"
        )
