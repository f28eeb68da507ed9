"""The staged rows of a run, from which the counts, the mapped rows and the rejects are read."""

# ruff: noqa: S608 - the parts of its SQL are compiled or quoted.
import os
import re
import sys
from pathlib import Path

import duckdb
from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.source import File
from lume_local._worker.sql import STAGED, copy_to, copying, row_of, scan_or_retry, text
from lume_local._worker.statements import PLACE, Statements

AT_ONCE = 8 * 1024**2 if int(duckdb.__version__.split(".")[0]) >= 2 else sys.maxsize
"""Bytes of text from which the one scan writes the mapped rows, and what else is staged to a file beside them: of
fewer that costs as much as a table. Before DuckDB 2 no statement writes two files."""
_MOST_COLUMNS = 200
"""Of more of them, two files hold so much at a time that DuckDB has to move it to its temporary folder and back."""
MOST_IN_MEMORY = 192 * 1024**2
"""Bytes of text up to which the rows are otherwise held in memory: that costs half of what a file of them does.

They take about as many; what is beyond the run's memory limit DuckDB moves to its temporary folder.
"""
_PACKED = {"parquet": 10, "excel": 10}
"""How many bytes of text come out of one byte of a file that isn't text."""
_FIRST = 20_000
_LINES = re.compile(r"max_line_size=(\d+)")
_BUFFER = 8 * 1024 * 1024
"""Bytes that the CSV reader buffers while a file is written. Its default is four times as much,
several times: 150 MB more for the same CPU time. Small buffers slow down a table in memory."""


@frozen
class Staged:
    """The rows of a run.

    Attributes:
        rows: SQL for them, each with its number as `file_row_number`.
        count: how many there are.
        mapped: how many rows the target's file has, if it is already written.
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

    If most likely none of many rows is rejected, they are written to `target`, the file of the mapped rows.
    """
    size = sum(os.stat(file.path).st_size * _PACKED.get(file.format, 1) for file in files)
    path = folder / "stage.parquet"
    # If rows may have to be reordered afterwards, none is written to the target directly.
    is_direct = target.suffix == ".parquet" and not statements.flow["lookups"]

    def by(reader: str) -> Staged:
        """The cheapest of four ways: both files in one pass, a table in memory, the target alone, a file of all."""
        over = statements.by(reader)
        if size >= AT_ONCE and is_direct and _passes_on(connection, over):
            return _in_one_pass(connection, _by_smaller_buffers(over), target, path)
        if size <= MOST_IN_MEMORY:
            return _in_memory(connection, over)
        over = _by_smaller_buffers(over)
        is_promising = is_direct and over.only_rejects and _begins_well(connection, over)
        if is_promising and (staged := _in_target(connection, over, target, records)):
            return staged
        return Staged(scan_of(path), stage_to(connection, over, path))

    return scan_or_retry(statements.layout.reader, by, lambda staged: staged.count == records)


_TABLE = "(SELECT *, rowid AS file_row_number FROM _lume_stage)"


def _into_table(query: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE _lume_stage AS {query}"


def _in_memory(connection: DuckDBPyConnection, statements: Statements) -> Staged:
    (count,) = row_of(connection, _into_table(statements.stage()))
    if not in_order(connection, statements, _TABLE):
        connection.execute(_into_table(f"FROM _lume_stage ORDER BY {PLACE}"))
    return Staged(_TABLE, count)


def _in_target(
    connection: DuckDBPyConnection, statements: Statements, target: Path, records: int
) -> Staged | None:
    """All rows in the target's file; None if one is rejected: then the file lacks rows and their numbers are off."""
    written = copy_to(connection, statements.mapped(f"({statements.stage()})", False), target)
    if written == records:
        return Staged(statements.flawless(scan_of(target)), written, written)
    target.unlink()
    return None


def stage_to(connection: DuckDBPyConnection, statements: Statements, path: Path) -> int:
    """Stage the rows in a file; returns how many there are."""
    count = copy_to(connection, statements.stage(), path, STAGED)
    if not in_order(connection, statements, scan_of(path)):
        mixed = path.replace(path.with_suffix(".mixed"))
        copy_to(connection, f"FROM read_parquet({text(str(mixed))}) ORDER BY {PLACE}", path, STAGED)
        mixed.unlink()
    return count


def in_order(connection: DuckDBPyConnection, statements: Statements, staged: str) -> bool:
    """Whether the staged rows are in the order of the source, behind joins too.

    A join in DuckDB holds a short vector back and lets later ones pass, such as the one at the end of each piece of a
    file or of each row group. It doesn't if rows are numbered before it, but that is not guaranteed. To check the
    numbers costs next to nothing; to sort every run would double its CPU time and take all its memory.
    """
    if not statements.flow["lookups"]:
        return True
    query = f"SELECT count(*) FROM {staged} WHERE {PLACE} <> file_row_number"
    return row_of(connection, query) == (0,)


def _passes_on(connection: DuckDBPyConnection, statements: Statements) -> bool:
    """Whether each row decides itself if it is mapped, and DuckDB passes it on to two files as soon as it is read.

    With one thread, or of several files, it would hold all rows before it writes the first one.
    """
    layout = statements.layout
    if statements.is_judged_late or layout.of_files or len(layout.raw) > _MOST_COLUMNS:
        return False
    return row_of(connection, "SELECT current_setting('threads') > 1") == (True,)


def _in_one_pass(connection: DuckDBPyConnection, statements: Statements, target: Path, rest: Path) -> Staged:
    """The rows to publish go to their file, and of all rows what else is staged to another one."""
    query = (
        f"WITH _lume_rows AS MATERIALIZED ({statements.stage()}), "
        f"_lume_mapped AS ({copying(statements.mapped('_lume_rows', False), target)}), "
        f"_lume_rest AS ({copying(statements.unmapped('_lume_rows'), rest, STAGED)}) "
        "SELECT (SELECT Count FROM _lume_mapped), (SELECT Count FROM _lume_rest)"
    )
    mapped, count = row_of(connection, query)
    return Staged(scan_of(rest), count, mapped)


def _by_smaller_buffers(statements: Statements) -> Statements:
    reader = _LINES.sub(
        lambda found: f"{found[0]}, buffer_size={max(_BUFFER, 4 * int(found[1]))}", statements.layout.reader
    )
    return statements.by(reader)


def scan_of(path: Path) -> str:
    return f"read_parquet({text(str(path))}, file_row_number=true)"


def _begins_well(connection: DuckDBPyConnection, statements: Statements) -> bool:
    """Whether none of the first rows is rejected: then it is worth a try."""
    query = f"SELECT count(*) FROM (FROM ({statements.stage()}) LIMIT {_FIRST}) WHERE _lume_reject"
    return row_of(connection, query) == (0,)
