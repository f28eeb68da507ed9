"""A source file from what it is to what DuckDB reads, with the account of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.csv import read_csv
from lume_local._worker.sources.files import is_utf8_name, recode
from lume_local._worker.sources.intake import Account, Malformed
from lume_local._worker.sources.ndjson import read_ndjson
from lume_local._worker.statements import Layout


@frozen
class Source:
    """A source that was split.

    Attributes:
        layout: how DuckDB reads its rows.
        account: what there is in it.
        malformed: its lines that can't be rows.
    """

    layout: Layout
    account: Account
    malformed: Malformed


def read_source(
    connection: DuckDBPyConnection, path: Path, flow: dict[str, Any], folder: Path, pause: Callable[[], None]
) -> Source:
    """Split the file. Raises `SourceError`, and whatever `pause` raises, which is called every few megabytes."""
    account, malformed = Account(path.stat().st_size), Malformed(folder / "malformed.csv")
    current = path
    if not is_utf8_name(flow["encoding"]):
        current = recode(path, flow["encoding"], folder / "recoded", pause)
    if flow["format"] == "csv":
        layout = read_csv(current, path, flow, folder, account, malformed, pause)
    else:
        layout = read_ndjson(connection, current, flow, folder, account, malformed, pause)
    malformed.close()
    return Source(layout, account, malformed)
