"""Stores rows of strings and NULLs for DuckDB: from sheets, queries, seeds, malformed lines and duplicates."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Sequence
from pathlib import Path

from lume_local._flow.definition import RESERVED
from lume_local._worker.sql import OURS, csv_reader


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
        columns = "_lume_dot", *(f"{RESERVED}s{n}" for n in range(self._width))
        options = *OURS, "allow_quoted_nulls=false", f"max_line_size={self._longest + 1000}", "parallel=false"
        reader = csv_reader(self._path, columns, (",", '"', '"'), *options)
        return f"SELECT * EXCLUDE (_lume_dot) FROM {reader}"
