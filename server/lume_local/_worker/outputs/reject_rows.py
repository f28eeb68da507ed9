"""Converts the rejects of a run to rows of a table, in one form for all flows, with the values as JSON."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from lume_async._base.words import counted
from lume_local._flow.databases import REJECTS_TABLE
from lume_local._flow.definition import quoted
from lume_local._shared.protocol import Json, Read
from lume_local._worker.connection import confine_folder, connect
from lume_local._worker.outputs.pages import all_rows_of, spelling_of
from lume_local._worker.outputs.row_json import Broken, Reasons
from lume_local._worker.sql import LINES, OURS, STAGED, copy_to, csv_reader, text

_APART = b"\x01"
"""Separates the columns of a line; JSON can't contain it."""
_PLAIN = {"delim": ",", "quote": '"', "escape": ""}
_READ = ("_lume_reject", "_lume_row", "_lume_line", "_lume_reasons", "_lume_values")


def reject_rows(built: Path, flow: Json, metrics: dict[str, Any], source: str) -> Path:
    """Write a Parquet file beside `built`, the file of the rejects: a row for each, numbered from 1 in order."""
    lines, target = built.with_name("rejects.lines"), built.with_name("rejects.rows.parquet")
    longest = _write(built, flow, metrics, lines)
    constants = {"_lume_flow": flow["ref"], "_lume_source": source}
    items = (
        f"{text(constants[name]) if name in constants else _read(name, sql_type)} AS {quoted(name)}"
        for name, sql_type in REJECTS_TABLE
    )
    reader = csv_reader(lines, _READ, LINES, *OURS, f"max_line_size={longest + 16}", "parallel=false")
    with connect() as connection:  # the run's connection may access another folder only
        confine_folder(connection, built.parent)
        copy_to(connection, f"SELECT {', '.join(items)} FROM {reader}", target, STAGED)
    lines.unlink()
    return target


def _read(name: str, sql_type: str) -> str:
    """Return SQL for a column; JSON goes to the database unchanged, as text."""
    return quoted(name) if sql_type.startswith("JSON") else f"CAST({quoted(name)} AS {sql_type})"


def _write(built: Path, flow: Json, metrics: dict[str, Any], lines: Path) -> int:
    """Write a line for each; return the longest one's length. Raises `Broken` if the number of rejects is wrong."""
    is_csv = flow["format"] == "csv"
    job = Read(
        path=str(built),
        identity="",
        csv=flow["csv"] if is_csv else _PLAIN,
        encoding=flow["encoding"] if is_csv else "utf-8",
        kinds={},
        position="0",
        row=0,
        rows=metrics["rows_rejected"],
        limit=1000,
        is_rejects=True,
        reasons=list(metrics["reject_reasons"]),
    )
    reasons, number, longest = Reasons(job.reasons, spelling_of(job)), 0, 0
    with closing(all_rows_of(job)) as rows, lines.open("wb") as out:
        for number, row in enumerate(rows, 1):
            why = orjson.dumps(reasons.split(row.reasons or ""))
            places = (str(place or "").encode() for place in (number, row.row, row.line))
            line = _APART.join((*places, why, row.body)) + b"\n"
            longest = max(longest, len(line))
            out.write(line)
    if number != metrics["rows_rejected"]:
        raise Broken(
            f"{counted(metrics['rows_rejected'], 'row was', 'rows were')} rejected, and the file has {number:,}"
        )
    return longest
