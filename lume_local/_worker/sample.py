"""The first rows of a Parquet file or an Excel workbook, as texts: what `sample_rows` runs in a process of its own.

python -m lume_local._worker.sample parquet|excel FILE ROWS
"""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import duckdb

from lume_local._worker.sources.formats.excel import as_text as cell_text
from lume_local._worker.sources.formats.excel import open_book
from lume_local._worker.sources.formats.parquet import texts_of
from lume_local._worker.sources.source import SourceError

Row = list[str | None]


def parquet_rows(path: Path) -> Iterator[Row]:
    """The names of the columns, then the rows."""
    with duckdb.connect(":memory:") as connection:
        names, query = texts_of(connection, path, path.name)
        yield list(names)
        found = connection.execute(query)
        while rows := found.fetchmany(1000):
            yield from map(list, rows)


def excel_rows(path: Path) -> Iterator[Row]:
    book = open_book(path, data_only=True)
    try:
        for cells in book.worksheets[0]:
            row = [cell_text(cell) for cell in cells]
            if any(value is not None for value in row):
                yield row
    finally:
        book.close()


def main(kind: str, path: str, most: str) -> None:
    """Print a JSON list for each row; the first one has the names."""
    rows = {"parquet": parquet_rows, "excel": excel_rows}[kind](Path(path))
    try:
        for row in islice(rows, int(most) + 1):
            sys.stdout.write(json.dumps(row) + "\n")
    except SourceError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
