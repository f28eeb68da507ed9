"""The files of a source from what they are to what DuckDB reads, with the account of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from duckdb import DuckDBPyConnection

from lume_local._worker.sources.csv import read_csv
from lume_local._worker.sources.files import is_utf8_name, recode
from lume_local._worker.sources.intake import Account, Malformed
from lume_local._worker.sources.ndjson import read_ndjson
from lume_local._worker.sources.reading import Reading
from lume_local._worker.sources.source import File, Pause
from lume_local._worker.statements import Layout

FORMATS: dict[str, Callable[[Reading], Layout]] = {"csv": read_csv, "ndjson": read_ndjson}
"""Readers by format: each counts what it reads in the reading's account and raises `SourceError`."""


@frozen
class Intake:
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
    connection: DuckDBPyConnection, files: list[File], flow: dict[str, Any], folder: Path, pause: Pause
) -> Intake:
    """Split the files. Raises `SourceError`, and whatever `pause` raises, which is called every few megabytes."""
    (file,) = files
    account, malformed = Account(file.path.stat().st_size), Malformed(folder / "malformed.csv")
    reading = Reading(connection, file.path, file.shown, flow, folder, account, malformed, pause)
    if not is_utf8_name(flow["encoding"]):
        copy = recode(file.path, file.shown, flow["encoding"], folder / "recoded", pause)
        reading = evolve(reading, path=copy)
    layout = FORMATS[file.format](reading)
    malformed.close()
    return Intake(layout, account, malformed)
