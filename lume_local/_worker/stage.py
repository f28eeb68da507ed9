"""The rows of a run, judged: where the counts, the mapped rows and the rejects are read from."""

# ruff: noqa: S608 - the parts of its SQL are compiled or quoted.
import os
import re
from pathlib import Path

from attrs import evolve, frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.checks import text
from lume_local._worker.scan_again import scanned
from lume_local._worker.sources.source import File
from lume_local._worker.statements import Statements
from lume_local._worker.targets.formats import STAGED, copy_to

MOST_IN_MEMORY = 192 * 1024**2
"""Bytes of text up to which the rows are held in memory: that costs half of what a file of them does.

They take about as many; what is beyond the run's memory limit DuckDB moves to its temporary folder.
"""
_PACKED = {"parquet": 10, "excel": 10}
"""How many bytes of text come out of one byte of a file that isn't text."""
_FIRST = 20_000
_LINES = re.compile(r"max_line_size=(\d+)")
_BUFFER = 8 * 1024 * 1024
"""Bytes that the CSV reader has of a file at once, where a file is made of it. By itself it takes four times as many,
several times: 150 MB more for the same CPU time. A table in memory is made more slowly of small ones."""


@frozen
class Staged:
    """The rows of a run.

    Attributes:
        rows: SQL for them, each with its number as `file_row_number`.
        count: how many there are.
        mapped: how many rows the target's file has, where it is written already.
    """

    rows: str
    count: int
    mapped: int | None = None


def stage(
    connection: DuckDBPyConnection,
    statements: Statements,
    files: list[File],
    folder: Path,
    target: Path,
    records: int,
) -> Staged:
    """Carry out the one scan of `files`, in which there are `records` rows.

    Where most likely none of many rows is rejected, they are written to `target`, the file of the mapped rows.
    """
    return scanned(
        statements,
        lambda them: _staged(connection, them, files, folder, target, records),
        lambda staged: staged.count == records,
    )


def _staged(
    connection: DuckDBPyConnection,
    statements: Statements,
    files: list[File],
    folder: Path,
    target: Path,
    records: int,
) -> Staged:
    if sum(os.stat(file.path).st_size * _PACKED.get(file.format, 1) for file in files) <= MOST_IN_MEMORY:
        table = f"CREATE OR REPLACE TEMP TABLE _lume_stage AS {statements.stage()}"
        ((count,),) = connection.execute(table).fetchall()
        return Staged("(SELECT *, rowid AS file_row_number FROM _lume_stage)", count)
    statements = _by_smaller_buffers(statements)
    if target.suffix == ".parquet" and statements.only_rejects and _begins_well(connection, statements):
        written = copy_to(connection, statements.mapped(f"({statements.stage()})", False), target)
        if written == records:
            return Staged(statements.flawless(_scan(target)), written, written)
        target.unlink()  # it lacks rows, so that their numbers are wrong
    path = folder / "stage.parquet"
    return Staged(_scan(path), copy_to(connection, statements.stage(), path, STAGED))


def _by_smaller_buffers(statements: Statements) -> Statements:
    reader = _LINES.sub(
        lambda found: f"{found[0]}, buffer_size={max(_BUFFER, 4 * int(found[1]))}", statements.layout.reader
    )
    return evolve(statements, layout=evolve(statements.layout, reader=reader))


def _scan(path: Path) -> str:
    return f"read_parquet({text(str(path))}, file_row_number=true)"


def _begins_well(connection: DuckDBPyConnection, statements: Statements) -> bool:
    """Whether none of the first rows is rejected: then it is worth a try."""
    query = f"SELECT count(*) FROM (FROM ({statements.stage()}) LIMIT {_FIRST}) WHERE _lume_reject"
    return connection.execute(query).fetchall() == [(0,)]
