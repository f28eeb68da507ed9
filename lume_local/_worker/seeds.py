"""Seed files: small tables that a flow looks values up in, read whole at the start of a run."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import csv
import hashlib
import io
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._worker.sources.files import snapshot
from lume_local._worker.sources.rows import RowsFile
from lume_local._worker.sources.source import SourceError

MOST_BYTES = 64 * 1024 * 1024


def check_seeds(flow: dict[str, Any], places: dict[str, Any]) -> None:
    """They are there, and not too large. Raises `SourceError`."""
    for name in flow["seeds"]:
        path = Path(places[name]["path"])
        if snapshot(path, places[name]["looked_up"]).size > MOST_BYTES:
            raise SourceError(f"the seed {path} is larger than {MOST_BYTES:,} bytes: make it a source")


def load_seeds(
    connection: DuckDBPyConnection, flow: dict[str, Any], places: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Make the table of each seed; what they were, for the metrics. Raises `SourceError`."""
    check_seeds(flow, places)
    found: dict[str, Any] = {}
    for name, seed in flow["seeds"].items():
        path = Path(places[name]["path"])
        data = path.read_bytes()
        header, rows = _read(path, data, seed["key"], seed["columns"])
        _make_table(connection, seed, header, rows, folder / f"seed_{seed['table']}")
        found[name] = {"file": str(path), "sha256": hashlib.sha256(data).hexdigest(), "rows": len(rows)}
    if flow["lookups"]:
        # A join keeps the order of the rows only if one thread does it, and if the seed is the side that is held.
        connection.execute("SET disabled_optimizers='in_clause,build_side_probe_side,join_order'")
    return found


def make_empty_tables(connection: DuckDBPyConnection, flow: dict[str, Any]) -> None:
    """What the statements of a run need, to try them."""
    for seed in flow["seeds"].values():
        names = ", ".join(f"{quoted(name)} VARCHAR" for name in ("_lume_key", *seed["columns"]))
        connection.execute(f"CREATE TEMP TABLE {seed['table']} ({names})")


def _read(path: Path, data: bytes, key: str, columns: list[str]) -> tuple[list[str], list[list[str]]]:
    csv.field_size_limit(2**31 - 1)
    try:
        header, *rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    except (UnicodeError, csv.Error, ValueError) as error:
        raise SourceError(f"the seed {path} is not a CSV file in UTF-8 with a header: {error}") from None
    rows = [row for row in rows if row]
    header = [name.strip() for name in header]
    for name in (key, *columns):
        if header.count(name) != 1:
            raise SourceError(
                f"the seed {path} needs one column {name!r}; it has {', '.join(map(repr, header))}"
            )
    seen: set[str] = set()
    for row in rows:
        if len(row) != len(header):
            raise SourceError(
                f"the seed {path} has a row of {len(row)} values for {len(header)} columns: {row}"
            )
        value = row[header.index(key)]
        if not value or value in seen:
            problem = f"has the {key} {value!r} twice" if value else f"has a row without {key}"
            raise SourceError(f"the seed {path} {problem}: each must be there once")
        seen.add(value)
    return header, rows


def _make_table(
    connection: DuckDBPyConnection, seed: dict[str, Any], header: list[str], rows: list[list[str]], path: Path
) -> None:
    names = [seed["key"], *seed["columns"]]
    places = [header.index(name) for name in names]
    file = RowsFile(path, len(names))
    for row in rows:
        file.write([row[place] or None for place in places])
    file.close()
    items = ", ".join(
        f"_lume_s{n} AS {quoted(name)}" for n, name in enumerate(("_lume_key", *seed["columns"]))
    )
    connection.execute(f"CREATE TEMP TABLE {seed['table']} AS SELECT {items} FROM ({file.reader})")
