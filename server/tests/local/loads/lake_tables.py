"""A table of an open format behind a server, which a test asks in SQL as it asks a database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from attrs import frozen
from local.loads import delta_log, iceberg
from local.loads.table_run import Database


@frozen
class Lake(Database):
    """The table `customers`, and `_lume_loads` with a row for each load; `place` is its part of a flow file."""

    place: str
    folder: Path

    def files(self) -> dict[str, int]:
        """The contents of all files of tables and catalog, where a version or snapshot would leave a trace."""
        return {str(one): hash(one.read_bytes()) for one in self.folder.rglob("*") if one.is_file()}

    def loads(self) -> list[str]:
        """The loads in the order of their versions or snapshots; none of a table that is missing."""
        if self.kind == "iceberg":
            with closing(sqlite3.connect(self.folder / "catalog.db")) as catalog:
                is_there = catalog.execute("SELECT * FROM iceberg_tables").fetchall()
            return iceberg.loads(self.folder, "s.customers") if is_there else []
        commits = delta_log.commits_of(self.folder / "customers").values()
        names = (one["txn"]["appId"] for actions in commits for one in actions if "txn" in one)
        return [name.removeprefix("lume/") for name in names]


@contextmanager
def opened(kind: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    folder = home / "lake"
    folder.mkdir()

    def execute(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            if kind == "delta":
                rows = polars.DataFrame(delta_log.rows_of(folder / "customers"), infer_schema_length=None)
                connection.register("customers", rows)
            else:
                files = iceberg.data_files(iceberg.metadata(folder, "s.customers"))
                connection.from_parquet(files, union_by_name=True).create_view("customers")
            connection.register("_lume_loads", polars.DataFrame({"run_id": lake.loads()}))
            return connection.execute(statement, parameters).fetchall()

    if kind == "delta":
        lake = Lake(kind, f"delta+{folder}", execute, f'delta = "{folder / "customers"}"', folder)
        yield lake
        return
    with iceberg.prod(folder, monkeypatch):
        lake = Lake(
            kind, "iceberg://prod/s.customers", execute, 'iceberg = "s.customers"\ncatalog = "prod"', folder
        )
        yield lake
