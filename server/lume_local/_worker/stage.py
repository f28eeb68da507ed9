"""The staged rows of a run, the basis of the counts, the mapped rows and the rejects."""

# ruff: noqa: S608 - the parts of its SQL are compiled or quoted.
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.source import File
from lume_local._worker.sql import STAGED, copy_to, copying, row_of, scan_all_or_retry, text
from lume_local._worker.statements import PLACE, Statements

AT_ONCE = 8 * 1024**2 if int(duckdb.__version__.split(".")[0]) >= 2 else sys.maxsize
"""Bytes of text from which one scan writes the mapped rows to their file and the other staged data to a second one.

Below that, this costs as much as a table. Before DuckDB 2 no statement writes two files.
"""
_MOST_COLUMNS = 200
"""With more columns, two files buffer so much that DuckDB has to spill it."""
PART_IN_MEMORY = 0.2
"""Rows whose text is up to this part of the run's memory limit are otherwise held in memory.

Rows and a sort need up to five times their text. A file costs twice the CPU time, and more if DuckDB spills.
"""
PACKED = {"parquet": 10, "excel": 10}
"""Bytes of text that one byte of a binary file yields."""
_FIRST = 20_000
"""Rows to try before all rows are written to the target directly."""
_LINES = re.compile(r"max_line_size=(\d+)")
"""The bound on lines among the options of a CSV reader."""
_BUFFER = 8 * 1024 * 1024
"""Bytes that the CSV reader buffers while a file is written. Its default is four times as much, several times:

150 MB more for the same CPU time. Small buffers slow down a table in memory.
"""


@frozen
class Staged:
    """The rows of a run.

    Attributes:
        rows: SQL for them, each with its number as `file_row_number`.
        count: the number of rows.
        mapped: the number of rows in the target's file, if it is already written.
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
    memory_limit: int,
) -> Staged:
    """Do the one scan of `files`, which have `records` rows.

    If there are many rows and probably no rejects, they are written to `target`, the file of the mapped rows.
    """
    size = sum(os.stat(file.path).st_size * PACKED.get(file.format, 1) for file in files)
    path = folder / "stage.parquet"
    # Rows that may have to be reordered later are not written to the target directly.
    is_direct = target.suffix == ".parquet" and not statements.is_numbered

    def staged_by(readers: Sequence[str]) -> Staged:
        """Choose the cheapest of four ways: both files in one pass, a table in memory, the target alone, one file."""
        reading = statements.by(*readers)
        if size >= AT_ONCE and is_direct and _passes_on(connection, reading):
            return _in_one_pass(connection, _by_smaller_buffers(reading), target, path)
        if size <= memory_limit * PART_IN_MEMORY:
            (count,) = row_of(connection, _into_table(reading.stage()))
            if not in_order(connection, reading, _TABLE):
                connection.execute(_into_table(f"FROM _lume_stage ORDER BY {PLACE}"))
            return Staged(_TABLE, count)
        reading = _by_smaller_buffers(reading)
        is_promising = is_direct and reading.only_rejects and _begins_well(connection, reading)
        if is_promising and (staged := _in_target(connection, reading, target, records)):
            return staged
        return Staged(scan_of(path), stage_to(connection, reading, path))

    return scan_all_or_retry(statements.relation.readers, staged_by, lambda staged: staged.count == records)


_TABLE = "(SELECT *, rowid AS file_row_number FROM _lume_stage)"


def _into_table(query: str) -> str:
    return f"CREATE OR REPLACE TEMP TABLE _lume_stage AS {query}"


def _in_target(
    connection: DuckDBPyConnection, statements: Statements, target: Path, records: int
) -> Staged | None:
    """Write all rows to the target; return None if one is rejected: rows are missing and the numbers are off."""
    query, columns = statements.mapped(f"({statements.stage()})", False), len(statements.flow["columns"])
    written = copy_to(connection, query, target, columns=columns)
    if written == records:
        return Staged(statements.flawless(scan_of(target)), written, written)
    target.unlink()
    return None


def stage_to(connection: DuckDBPyConnection, statements: Statements, path: Path) -> int:
    """Stage the rows in a file; return their number."""
    count = copy_to(connection, statements.stage(), path, STAGED)
    if not in_order(connection, statements, scan_of(path)):
        mixed = path.replace(path.with_suffix(".mixed"))
        copy_to(connection, f"FROM read_parquet({text(str(mixed))}) ORDER BY {PLACE}", path, STAGED)
        mixed.unlink()
    return count


def in_order(connection: DuckDBPyConnection, statements: Statements, staged: str) -> bool:
    """Return whether the staged rows are in the order of the source, even after joins, or by layout.

    A join in DuckDB holds back a short vector and lets later ones pass, for example at the end of each piece of a
    file or of each row group. It doesn't if rows are numbered before it, but that is not guaranteed. Checking the
    numbers costs next to nothing; sorting every run would double its CPU time and take all its memory.
    """
    if not statements.is_numbered:
        return True
    query = f"SELECT count(*) FROM {staged} WHERE {PLACE} <> file_row_number"
    return row_of(connection, query) == (0,)


def _passes_on(connection: DuckDBPyConnection, statements: Statements) -> bool:
    """Return whether each row can be judged alone, and DuckDB passes it on to two files as soon as it is read.

    With one thread, or with several files, DuckDB would hold all rows before writing the first one.
    """
    relation = statements.relation
    if statements.is_judged_late or relation.of_files or len(relation.raw) > _MOST_COLUMNS:
        return False
    return row_of(connection, "SELECT current_setting('threads') > 1") == (True,)


def _in_one_pass(connection: DuckDBPyConnection, statements: Statements, target: Path, rest: Path) -> Staged:
    """Write the rows to publish to their file, and the other staged data of all rows to a second one."""
    query = (
        f"WITH _lume_rows AS MATERIALIZED ({statements.stage()}), "
        f"_lume_mapped AS ({copying(statements.mapped('_lume_rows', False), target)}), "
        f"_lume_rest AS ({copying(statements.unmapped('_lume_rows'), rest, STAGED)}) "
        "SELECT (SELECT Count FROM _lume_mapped), (SELECT Count FROM _lume_rest)"
    )
    mapped, count = row_of(connection, query)
    return Staged(scan_of(rest), count, mapped)


def _by_smaller_buffers(statements: Statements) -> Statements:
    """Give the CSV reader small buffers, in which four of the longest lines still fit."""
    return statements.by(
        *(
            _LINES.sub(lambda found: f"{found[0]}, buffer_size={max(_BUFFER, 4 * int(found[1]))}", reader)
            for reader in statements.relation.readers
        )
    )


def scan_of(path: Path) -> str:
    return f"read_parquet({text(str(path))}, file_row_number=true)"


def _begins_well(connection: DuckDBPyConnection, statements: Statements) -> bool:
    """Return whether none of the first rows is rejected, so that writing to the target directly is worth a try."""
    query = f"SELECT count(*) FROM (FROM ({statements.stage()}) LIMIT {_FIRST}) WHERE _lume_reject"
    return row_of(connection, query) == (0,)
