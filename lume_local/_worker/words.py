"""Messages for errors of DuckDB. Pure."""

import errno
import os

import duckdb

from lume_local._worker.sources.places.held import named


def words_of(error: duckdb.Error, memory_limit: str) -> str:
    """The message for users."""
    words = named(str(error)).split("\n\n", 1)[0].replace("\n", " ").strip()
    if os.strerror(errno.ENOSPC) in words or "max_temp_directory_size" in str(error):
        return "the disk is full: make room, then submit the run again"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"the run needs more than its memory limit of {memory_limit}: {words}"
    return f"DuckDB could not read or write the data: {words}"
