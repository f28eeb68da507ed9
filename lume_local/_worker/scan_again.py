"""Repeat a scan line by line if DuckDB's parallel CSV reader fails.

With some sizes of its buffers it refuses files that are in order, finds mistakes in them that aren't there, or leaves
a row out where a buffer ends. The files have been checked before: each of their records
is well-formed, and how many there are is known.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import duckdb

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
