"""One scan of a source once more, line by line, where DuckDB's parallel CSV reader can't do it.

With some sizes of its buffers it refuses files that are in order, finds mistakes in them that aren't there, or leaves
a row out where a buffer ends. The files that it is given here have been looked through before: each of their records
is well-formed, and how many there are is known.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import duckdb

Found = TypeVar("Found")

PARALLEL = "parallel=true)"
"""The last argument of a reader that may be told to do without."""
_OF_THE_READER = re.compile(r"Parallel CSV Reader|CSV Error on Line")


def scanned(
    reader: str,
    scan: Callable[[str], Found],
    is_whole: Callable[[Found], bool] = lambda _: True,
) -> Found:
    """What the scan by `reader`, a query, gives. Raises what it raises, but for that error at first.

    `is_whole` says whether all rows are there.
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
