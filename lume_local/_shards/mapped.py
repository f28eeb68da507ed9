"""The mapped rows, by tasks: those of one shard as a file, and what is in the columns of all of them."""

# ruff: noqa: S608 - the parts of its SQL are quoted.

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._shards.access import database, job_of, new_folder
from lume_local._shards.executor import Pause
from lume_local._shards.shards import layout_of
from lume_local._shared.commit import sync_file
from lume_local._worker.compiler.checks import text
from lume_local._worker.profile import profile, unmet
from lume_local._worker.statements import Statements
from lume_local._worker.targets.copy_to import copy_to

_WITHOUT_HEADER = {".csv": "FORMAT csv, HEADER false"}


def can_be_joined(suffix: str) -> bool:
    """Whether the files of all shards, one after the other, are one file of this format."""
    return suffix in (".csv", ".ndjson")


def build(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: write the mapped rows of the shard `number` to a durable file, for the target or `joined`."""
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
    """All of them in one durable file; they are gone."""
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
    """The task: statistics of some `columns`, or, where `counts` are given, the expectations that do not hold."""
    job, run_folder = job_of(argument), Path(argument["folder"])
    mapped = argument["mapped"]
    with database(job, run_folder) as (connection, _):
        _take_duplicates(connection, argument["duplicates"])
        if "counts" in argument:
            return {"unmet": unmet(connection, job.flow["expect"], mapped, argument["counts"])}
        wanted = [column for column in job.flow["columns"] if column["name"] in argument["columns"]]
        return {"columns": profile(connection, {"columns": wanted}, mapped)}


def _take_duplicates(connection: DuckDBPyConnection, path: str | None, rows: str = "true") -> None:
    """Make the table `_lume_duplicates` as the coordinator has it, with those rows only; no table if it has none."""
    if path is not None:
        connection.execute(
            f"CREATE TEMP TABLE _lume_duplicates AS SELECT * FROM read_parquet({text(path)}) WHERE {rows}"
        )
