"""SQL for DuckDB: texts and names of files as literals, a query to a file, and a scan that is repeated line by line.

Its readers take `*`, `?` and `[` in the name of a file for a pattern. With some sizes of its buffers, its parallel
CSV reader refuses files that are in order, finds mistakes in them that aren't there, or leaves a row out where a
buffer ends. The files have been checked before: each record is well-formed, and how many there are is known.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from duckdb import DuckDBPyConnection


def row_of(connection: DuckDBPyConnection, query: str, values: object = None) -> tuple[Any, ...]:
    """The only row of a query's result."""
    (row,) = connection.execute(query, values).fetchall()
    return tuple(row)


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def literal(path: Path) -> str:
    """SQL for what a reader is given: this file and no other."""
    return text(_escaped(path))


def allowed(paths: Iterable[Path]) -> str:
    """SQL for what `allowed_paths` and `allowed_directories` are set to: each as it is, and as `literal` has it."""
    return ", ".join(text(name) for path in paths for name in dict.fromkeys((str(path), _escaped(path))))


def _escaped(path: Path) -> str:
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))


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
    return int(row_of(connection, copying(query, target, options))[0])


def copying(query: str, target: Path, options: str | None = None) -> str:
    """The statement that writes the query's rows; what it gives is `Count`."""
    return f"COPY ({query}) TO {text(str(target))} ({options or _FORMATS[target.suffix]})"


LINES = ("\x01", "", "")
"""The dialect of lines that are no CSV: what stands between values can't be in one."""
OURS = ("header=false", r"new_line='\n'")
"""Options for a file that this process has written."""


def csv_reader(path: Path, columns: Iterable[str], dialect: Sequence[str], *options: str) -> str:
    """SQL for the rows of a file as texts, which are read strictly: nothing is guessed. An empty one is NULL.

    `dialect` is the delimiter, the quote and the escape.
    """
    named = ", ".join(f"{text(name)}: 'VARCHAR'" for name in columns)
    delim, quote, escape = map(text, dialect)
    return (
        f"read_csv({literal(path)}, auto_detect=false, compression='none', columns={{{named}}}, delim={delim}, "
        f"quote={quote}, escape={escape}, nullstr='', strict_mode=true, {', '.join(options)})"
    )


Result = TypeVar("Result")

PARALLEL = "parallel=true)"
"""The last argument of a reader that can also run without it."""
_OF_THE_READER = re.compile(r"Parallel CSV Reader|CSV Error on Line")


def scan_or_retry(
    reader: str,
    scan: Callable[[str], Result],
    is_whole: Callable[[Result], bool] = lambda _: True,
) -> Result:
    """The result of the scan by `reader`, a query; that error is raised only by the second attempt.

    `is_whole` checks that all rows are there.
    """
    try:
        found = scan(reader)
    except (duckdb.NotImplementedException, duckdb.InvalidInputException) as error:
        if PARALLEL not in reader or not _OF_THE_READER.search(str(error)):
            raise
    else:
        if is_whole(found) or PARALLEL not in reader:
            return found
    return scan(reader.replace(PARALLEL, "parallel=false)"))
