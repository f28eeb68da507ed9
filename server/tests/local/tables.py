"""One table of texts in each format that a source may have."""

import csv
import io
import json
from pathlib import Path

import duckdb
from local.workbooks import written

from lume_local._worker.sql import text


def content_of(format: str, rows: list[list[str]], folder: Path) -> bytes:
    """A file with these rows, the first of which names the columns; an empty text is nothing."""
    names, *values = rows
    if format == "excel":
        return written("xlsx", [[value or None for value in row] for row in rows])
    if format == "csv":
        out = io.StringIO(newline="")
        csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
        return out.getvalue().encode()
    objects = [{name: value or None for name, value in zip(names, row, strict=True)} for row in values]
    if format == "parquet":
        listed = ", ".join(f'"{name}"' for name in names)
        given = [[f"nullif({text(value)}, '')" for value in row] for row in values]
        tuples = ", ".join("(" + ", ".join(row) + ")" for row in given)
        duckdb.sql(f"FROM (VALUES {tuples}) AS t({listed})").write_parquet(str(folder / "made.parquet"))
        return (folder / "made.parquet").read_bytes()
    return json.dumps(objects).encode() if format == "json" else "\n".join(map(json.dumps, objects)).encode()
