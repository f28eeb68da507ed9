"""The rows of a query: stored as they arrive, with a note beside them, and read as the format `rows`."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from lume_local._worker.databases.database import Row
from lume_local._worker.sources.formats.names import unknown_columns, visible_columns
from lume_local._worker.sources.formats.rows_file import RowsFile
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout


def write_rows(path: Path, names: list[str], batches: Iterable[list[Row]], longest: int, shown: str) -> None:
    """Write all of them, and count. Raises `SourceError` if one has more than `longest` characters."""
    rows = 0
    with closing(RowsFile(path, len(names))) as file:
        for row in _each(batches):
            rows += 1
            length = sum(len(value) for value in row if value is not None)
            if length > longest:
                raise SourceError(
                    f"row {rows:,} of {shown} has {length:,} characters: source.max_line_bytes is {longest:,}"
                )
            file.write(row)
    _note(path).write_text(json.dumps({"names": names, "rows": rows, "reader": file.reader}))


def _each(batches: Iterable[list[Row]]) -> Iterator[Row]:
    for batch in batches:
        yield from batch


def read_rows(reading: Reading) -> Layout:
    """How DuckDB reads what `write_rows` has written. Raises `SourceError`."""
    note = json.loads(_note(reading.path).read_text())
    reading.account.records += note["rows"]
    names = note["names"]
    visible = visible_columns(reading.flow, names, reading.shown)
    return Layout(note["reader"], tuple(names), visible, unknown=unknown_columns(names, visible))


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
