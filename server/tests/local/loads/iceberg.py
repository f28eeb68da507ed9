"""An Iceberg catalog of a test, and a reader of its tables that shares no code with the product."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from lume_local._worker.targets import iceberg_target

NAME = "prod"
VARIABLE = f"PYICEBERG_CATALOG__{NAME.upper()}__"


def settings_of(folder: Path) -> dict[str, str]:
    """A SQL catalog in a file."""
    return {"uri": f"sqlite:///{folder / 'catalog.db'}", "warehouse": str(folder / "warehouse")}


@contextmanager
def opened(folder: Path) -> Iterator[Catalog]:
    """The catalog as others open it."""
    with closing(load_catalog(NAME, **settings_of(folder))) as catalog:
        yield catalog


@contextmanager
def prod(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    """A catalog with a namespace, in the environment of the server."""
    for name, value in settings_of(folder).items():
        monkeypatch.setenv(f"{VARIABLE}{name.upper()}", value)
    with opened(folder) as catalog:
        catalog.create_namespace("s")
        try:
            yield catalog
        finally:
            forget()


def forget() -> None:
    """Close the catalogs that this process has opened for runs."""
    for _, catalog in iceberg_target._catalogs.values():
        catalog.close()
    iceberg_target._catalogs.clear()


def metadata(folder: Path, table: str) -> dict[str, Any]:
    """A table's newest metadata file."""
    with closing(sqlite3.connect(folder / "catalog.db")) as connection:
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_namespace || '.' || table_name = ?"
        ((location,),) = connection.execute(query, [table]).fetchall()
    found: dict[str, Any] = json.loads(_path(location).read_text())
    return found


def rows(folder: Path, table: str, columns: str = "*", order: str = "ALL") -> list[tuple[Any, ...]]:
    """The rows of the current snapshot, from metadata, manifests (polars' Avro) and data files (DuckDB)."""
    files = data_files(metadata(folder, table))
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = f"SELECT {columns} FROM read_parquet({files}, union_by_name=true) ORDER BY {order}"
        return connection.execute(query).fetchall()


def data_files(found: dict[str, Any]) -> list[str]:
    """The live data files of the current snapshot."""
    snapshots = {one["snapshot-id"]: one for one in found["snapshots"]}
    if (current := snapshots.get(found["current-snapshot-id"])) is None:
        return []
    files = []
    for manifest in polars.read_avro(_path(current["manifest-list"]))["manifest_path"]:
        for entry in polars.read_avro(_path(manifest)).iter_rows(named=True):
            if entry["status"] != 2:  # deleted
                files.append(str(_path(entry["data_file"]["file_path"])))
    assert len(set(files)) == len(files)
    return files


def loads(folder: Path, table: str) -> list[str]:
    """The loads of a table's snapshots, in their order; empty for others' ones."""
    snapshots = sorted(metadata(folder, table)["snapshots"], key=lambda one: one["sequence-number"])
    return [one["summary"].get("lume.run", "") for one in snapshots]


def _path(location: str) -> Path:
    return Path(location.removeprefix("file://"))
