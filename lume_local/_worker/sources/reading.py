"""What the reader of a format works with."""

from pathlib import Path
from typing import Any

from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.intake import Account, Malformed
from lume_local._worker.sources.source import Pause


@frozen
class Reading:
    """One file that is being read.

    Attributes:
        connection: of the run.
        path: the file, in UTF-8 if it is one of lines.
        shown: what messages call it.
        flow: the compiled flow.
        folder: for copies and the like; this reading's own.
        account: counts what is in the file. Its bytes are there already.
        malformed: takes what can't be a row.
        pause: to be called every few megabytes.
        is_beginning: whether the source begins with it: that tells what it is, and a BOM there is none of its data.
    """

    connection: DuckDBPyConnection
    path: Path
    shown: str
    flow: dict[str, Any]
    folder: Path
    account: Account
    malformed: Malformed
    pause: Pause
    is_beginning: bool = True
