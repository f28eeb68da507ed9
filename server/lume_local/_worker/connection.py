"""The DuckDB connection of a run, and what it may access.

Each setting has a reason that a test of DuckDB's behaviour shows:
- the optimizer `in_clause` is off: it plans `x IN (...)` as a join, which loses the order of the rows;
- `projection_placement` is off: it takes time with the square of the columns, and makes no run of ours faster;
- `enable_external_access=false` and the allowed paths: an expression can access the files of this run only;
- the progress bar is on (else DuckDB counts no progress) but never printed: stdout carries the protocol.
"""

import errno
import json
import os
import re
from contextlib import suppress
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import MEMORY_LIMIT, Execute
from lume_local._worker.sources.places.held import named
from lume_local._worker.sources.source import File
from lume_local._worker.sql import allowed, row_of, text

_INNER = re.compile(r'"exception_message":("(?:[^"\\]|\\.)*")')
"""The message in an error that DuckDB has met in a thread of its own, such as while writing."""
UNWANTED = "in_clause" if duckdb.__version__ < "2" else "in_clause,projection_placement"
"""The optimizers that are always off (see above), as DuckDB lists them; version 1 doesn't have the second."""
_OF_PARQUET = ("statistics_propagation", "filter_pushdown")
"""The optimizers that find columns without NULL, which the schema of a Parquet file names."""
_OF_NO_USE: list[str] = []
"""All others. Small statements are as fast without them; DuckDB is asked for their names once."""


def connect() -> DuckDBPyConnection:
    """Open a new database, which can check flows and then do one run; the caller closes it.

    It costs 10 ms of CPU. A cursor costs nothing and shares its settings (except for the progress bar).
    """
    connection = duckdb.connect(":memory:")
    configure(
        connection,
        f"disabled_optimizers={text(UNWANTED)}",
        "enable_progress_bar=true",
        "enable_progress_bar_print=false",
        "autoinstall_known_extensions=false",
        "autoload_known_extensions=false",
        "GLOBAL TimeZone='UTC'",
        # Else a division by zero is infinity or NaN, which is greater than every limit of a condition.
        "GLOBAL ieee_floating_point_ops=false",
    )
    return connection


def memory_of(connection: DuckDBPyConnection) -> int:
    """Return DuckDB's own limit in bytes: four fifths of the machine's or container's memory."""
    number, unit = row_of(connection, "SELECT current_setting('memory_limit')")[0].split()
    return int(float(number) * 1024 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit))


def configure(connection: DuckDBPyConnection, *settings: str) -> None:
    """Change settings, each written as in `SET`."""
    connection.execute(";".join(f"SET {setting}" for setting in settings))


def confine(connection: DuckDBPyConnection, folder: Path, files: list[File], job: Execute) -> None:
    """Restrict the connection to reading `files` and using `folder`, and create the cleaners of the flow."""
    reached = f"allowed_paths=[{allowed(file.path for file in files)}]", _below(folder)
    _confine(connection, job.memory_limit, job.threads, folder / "spill", *reached)
    for statement in job.flow["cleaners"]:
        connection.execute(statement)


def confine_place(connection: DuckDBPyConnection, place: Path, job: Execute) -> None:
    """Restrict all connections of this instance to the folder `place`."""
    with suppress(duckdb.CatalogException):  # DuckDB 1 lacks these settings
        # Else a thread that writes its file spins while a second one, which has to be woken, does that.
        connection.execute("SET async_threads=0")
        connection.execute("SET allowed_configs=['disabled_optimizers']")  # for `plan`
    # So little data can't keep two threads busy, and waking the second one costs more.
    reached = _below(place), "enable_external_file_cache=false"
    _confine(connection, job.memory_limit, 1, place / "spill", *reached)


def plan(connection: DuckDBPyConnection, *, simply: bool) -> None:
    """Let statements be executed `simply` as they are written, or optimized; DuckDB 1 always optimizes."""
    if not _OF_NO_USE:
        names = connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()
        _OF_NO_USE.extend(name for (name,) in names if name not in _OF_PARQUET)
    disabled = ",".join(_OF_NO_USE) if simply else UNWANTED
    with suppress(duckdb.InvalidInputException):  # locked
        configure(connection, f"GLOBAL disabled_optimizers={text(disabled)}")


def confine_folder(connection: DuckDBPyConnection, folder: Path) -> None:
    """Restrict the connection to a run's folder, for copying rows there."""
    _confine(connection, 256_000_000, 1, folder / "copy-spill", _below(folder))


def confine_check(connection: DuckDBPyConnection) -> None:
    """Deny the connection all files, for trying the expressions of a flow."""
    _confine(connection, MEMORY_LIMIT, 1, None)


def confine_read(connection: DuckDBPyConnection, path: Path) -> None:
    """Restrict the connection to reading this file."""
    _confine(connection, 512_000_000, 1, None, f"allowed_paths=[{allowed([path])}]")


def _below(folder: Path) -> str:
    return f"allowed_directories=[{allowed([folder])}]"


def _confine(
    connection: DuckDBPyConnection, memory_limit: int, threads: int, spill: Path | None, *reached: str
) -> None:
    """Limit memory, threads and access (to `reached`), and lock the settings."""
    configure(
        connection,
        f"memory_limit='{memory_limit // 1000}KB'",
        f"threads={int(threads)}",
        f"temp_directory={text(str(spill or ''))}",
        *reached,
        "enable_external_access=false",
        "lock_configuration=true",
    )


def words_of(error: duckdb.Error, memory_limit: int) -> str:
    words = named(str(error)).split("\n\n", 1)[0].replace("\n", " ").strip()
    if inner := _INNER.search(words):
        words = json.loads(inner[1])
    if os.strerror(errno.ENOSPC) in words or "max_temp_directory_size" in str(error):
        return "the disk is full: make room, then submit the run again"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"the run needs more than its memory limit of {memory_limit / 10**9:g} GB: {words}"
    return f"DuckDB could not read or write the data: {words}"
