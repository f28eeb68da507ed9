"""SQL for DuckDB: literals for strings and file names, a query to a file, and a scan with a retry line by line.

DuckDB's readers take `*`, `?` and `[` in a file name as a pattern. With some buffer sizes its parallel CSV reader
refuses valid files, reports errors that don't exist, or skips a row where a buffer ends. The files have been checked
before: each record is well-formed, and their number is known.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from duckdb import DuckDBPyConnection


def row_of(connection: DuckDBPyConnection, query: str, values: object = None) -> tuple[Any, ...]:
    """Return the only row of a query's result."""
    (row,) = connection.execute(query, values).fetchall()
    return tuple(row)


def text(value: str) -> str:
    """Return a string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def literal(path: Path) -> str:
    """Return SQL for a reader's argument that means exactly this file."""
    return text(_escaped(path))


def allowed(paths: Iterable[Path]) -> str:
    """Return SQL for `allowed_paths` and `allowed_directories`: each path as it is, and as in `literal`."""
    return ", ".join(text(name) for path in paths for name in dict.fromkeys((str(path), _escaped(path))))


def _escaped(path: Path) -> str:
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))


_FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT {dictionary}",
    ".csv": "FORMAT csv, HEADER true",
    ".ndjson": "FORMAT json",
}
STAGED = "FORMAT parquet, COMPRESSION lz4, DICTIONARY_SIZE_LIMIT 1"
"""Options for rows that only we read, once or twice: fast to write and compact."""


_DICTIONARY = 4096
"""Values in a column's dictionary: larger ones hardly make a file smaller, and cost a fifth of the writing."""
_DICTIONARIES = 1_000_000
"""Values in the dictionaries of all columns: one takes 250 bytes a value as soon as its file is opened."""


def copy_to(
    connection: DuckDBPyConnection, query: str, target: Path, options: str | None = None, columns: int = 1
) -> int:
    """Write the query's rows, of so many columns; return their number."""
    return int(row_of(connection, copying(query, target, options, columns))[0])


def copying(query: str, target: Path, options: str | None = None, columns: int = 1) -> str:
    """Return the statement that writes the query's rows; its result is `Count`."""
    dictionary = min(_DICTIONARY, _DICTIONARIES // columns)
    options = options or _FORMATS[target.suffix].format(dictionary=dictionary)
    return f"COPY ({query}) TO {text(str(target))} ({options})"


LINES = ("\x01", "", "")
"""The dialect of plain lines: a line can't contain the delimiter."""
OURS = ("header=false", r"new_line='\n'")
"""Options for a file that this process has written."""


def csv_reader(path: Path, columns: Iterable[str], dialect: Sequence[str], *options: str) -> str:
    """Return SQL for the rows of a file as text, read strictly and without guessing; an empty value is NULL.

    `dialect` is the delimiter, the quote and the escape.
    """
    named = ", ".join(f"{text(name)}: 'VARCHAR'" for name in columns)
    delim, quote, escape = map(text, dialect)
    return (
        f"read_csv({literal(path)}, auto_detect=false, compression='none', columns={{{named}}}, delim={delim}, "
        f"quote={quote}, escape={escape}, nullstr='', strict_mode=true, {', '.join(options)})"
    )


class RowsFile:
    """Takes rows one by one; `reader` is the query for them, to be run after closing it.

    The file is CSV with every value quoted except NULL; each row begins with a dot, so that no line is blank.
    """

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width = path, width
        self._file = path.open("w", encoding="utf-8", newline="")
        self._longest = 0  # bytes of the longest line, at most

    def write(self, row: Sequence[str | None]) -> None:
        # Most values have no quote, and need no copy.
        quoted = [value and (value.replace('"', '""') if '"' in value else value) for value in row]
        line = ",".join([".", *["" if value is None else f'"{value}"' for value in quoted]]) + "\n"
        self._longest = max(self._longest, len(line) if line.isascii() else 4 * len(line))
        self._file.write(line)

    def close(self) -> None:
        self._file.close()

    @property
    def reader(self) -> str:
        """SQL for `_lume_s0`, `_lume_s1`, … of all rows in order."""
        columns = "_lume_dot", *(f"_lume_s{n}" for n in range(self._width))
        options = *OURS, "allow_quoted_nulls=false", f"max_line_size={self._longest + 1000}", "parallel=false"
        reader = csv_reader(self._path, columns, (",", '"', '"'), *options)
        return f"SELECT * EXCLUDE (_lume_dot) FROM {reader}"  # noqa: S608 - quoted


Result = TypeVar("Result")

PARALLEL = "parallel=true)"
"""The last argument of a reader that can also run without it."""
_OF_THE_READER = re.compile(r"Parallel CSV Reader|CSV Error on Line")


def scan_or_retry(
    reader: str,
    scan: Callable[[str], Result],
    is_whole: Callable[[Result], bool] = lambda _: True,
) -> Result:
    """Return the result of scanning `reader`, a query (see `scan_all_or_retry`)."""
    return scan_all_or_retry((reader,), lambda readers: scan(*readers), is_whole)


def scan_all_or_retry(
    readers: Sequence[str],
    scan: Callable[[Sequence[str]], Result],
    is_whole: Callable[[Result], bool] = lambda _: True,
) -> Result:
    """Return the result of scanning queries; retry without the parallel reader if that one fails.

    `is_whole` checks that all rows are there.
    """
    is_parallel = any(PARALLEL in reader for reader in readers)
    try:
        found = scan(readers)
    except (duckdb.NotImplementedException, duckdb.InvalidInputException) as error:
        if not is_parallel or not _OF_THE_READER.search(str(error)):
            raise
    else:
        if is_whole(found) or not is_parallel:
            return found
    return scan([reader.replace(PARALLEL, "parallel=false)") for reader in readers])
