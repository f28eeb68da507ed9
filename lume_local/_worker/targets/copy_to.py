"""Writing a query to a file, in the format of its suffix."""

from pathlib import Path

from duckdb import DuckDBPyConnection

from lume_local._worker.compiler.checks import text

_FORMATS = {
    # A dictionary of more values than that hardly makes a file smaller, and costs a fifth of the writing.
    ".parquet": "FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 4096",
    ".csv": "FORMAT csv, HEADER true",
    ".ndjson": "FORMAT json",
}
STAGED = "FORMAT parquet, COMPRESSION lz4, DICTIONARY_SIZE_LIMIT 1"
"""For rows that are read once or twice, by us: what is written soonest, in little room."""


def copy_to(connection: DuckDBPyConnection, query: str, target: Path, options: str | None = None) -> int:
    """Write the query's rows; returns how many there were."""
    row = connection.execute(copying(query, target, options)).fetchone()
    assert row is not None
    return int(row[0])


def copying(query: str, target: Path, options: str | None = None) -> str:
    """The statement that writes the query's rows; what it gives is `Count`."""
    return f"COPY ({query}) TO {text(str(target))} ({options or _FORMATS[target.suffix]})"
