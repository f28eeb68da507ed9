"""Seed files: small lookup tables of a flow, read whole at the start of a run."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import csv
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_async._base.words import counted
from lume_local._flow.definition import SEED_BYTES, quoted
from lume_local._worker.connection import UNWANTED
from lume_local._worker.sources.files import opened, snapshot
from lume_local._worker.sources.source import SourceError, place_to_read
from lume_local._worker.sql import RowsFile


def check_seeds(flow: dict[str, Any], places: dict[str, Any]) -> None:
    """Check that the seeds exist and are not too large. Raises `SourceError`."""
    for name in flow["seeds"]:
        path = Path(places[name]["path"])
        if snapshot(place_to_read(places[name]), places[name]["looked_up"]).size > SEED_BYTES:
            raise SourceError(f"the seed {path} is larger than {SEED_BYTES:,} bytes: use it as a source")


def load_seeds(
    connection: DuckDBPyConnection, flow: dict[str, Any], places: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Create a table for each seed; return their description for the metrics. Raises `SourceError`."""
    check_seeds(flow, places)
    found: dict[str, Any] = {}
    for name, seed in flow["seeds"].items():
        path = Path(places[name]["path"])
        found_at = place_to_read(places[name])
        with os.fdopen(opened(found_at, places[name]["looked_up"])[0], "rb") as file:
            data = file.read(SEED_BYTES + 1)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != places[name].get("sha256", sha256):
            raise SourceError(
                f"the seed {path} was changed after the run was submitted: submit the run again"
            )
        where, rows = _read(path, data, seed["key"], seed["columns"])
        _make_table(connection, seed, where, rows, folder / f"seed_{seed['table']}")
        found[name] = {"file": str(path), "sha256": sha256, "rows": len(rows)}
    if flow["lookups"]:
        # The join must build on the seed: building on the source takes memory and loses the order of its rows.
        connection.execute(f"SET disabled_optimizers='{UNWANTED},build_side_probe_side,join_order'")
    return found


def make_empty_tables(connection: DuckDBPyConnection, flow: dict[str, Any]) -> None:
    """Create the tables that the statements of a run need, for trying them."""
    for seed in flow["seeds"].values():
        names = ", ".join(f"{quoted(name)} VARCHAR" for name in ("_lume_key", *seed["columns"]))
        connection.execute(f"CREATE TEMP TABLE {seed['table']} ({names})")


def _read(path: Path, data: bytes, key: str, columns: list[str]) -> tuple[list[int], list[list[str]]]:
    """Return the places of the key and the columns in each row, and the rows. Raises `SourceError`."""
    csv.field_size_limit(2**31 - 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeError as error:
        raise SourceError(f"the seed {path} is not UTF-8: {error}. Save it as UTF-8") from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if not any(header):
            raise SourceError(
                f"the seed {path} is empty: its first line must name the columns, {key} among them"
            )
        places = [_place(path, header, name) for name in (key, *columns)]
        return places, list(_checked(path, lines, len(header), key, places[0]))
    except csv.Error as error:
        raise SourceError(
            f"the seed {path} is not a valid CSV file: line {lines.line_num}: {error}"
        ) from None


def _place(path: Path, header: list[str], name: str) -> int:
    """Return the column's index. As in a source, case is ignored if that is unambiguous."""
    for found in (header, [one.lower() for one in header]):
        wanted = name if found is header else name.lower()
        if found.count(wanted) == 1:
            return found.index(wanted)
    problem = f"the seed {path} needs one column {name!r}; it has {', '.join(map(repr, header))}"
    if len(header) == 1:
        for delim in ";\t|":
            if name.lower() in map(str.strip, header[0].lower().split(delim)):
                problem += f". It looks like the delimiter is {delim!r}: save it with commas"
                break
    raise SourceError(problem)


def _checked(path: Path, lines: Any, width: int, key: str, place: int) -> Iterator[list[str]]:
    """Yield the remaining rows of the reader `lines`, each checked to have a unique key."""
    seen: set[str] = set()
    for row in filter(None, lines):
        where = f"in line {lines.line_num}"
        if len(row) != width:
            raise SourceError(
                f"the seed {path} has a row of {counted(len(row), 'value')} for {counted(width, 'column')} {where}: "
                "put a value that has a comma in it in quotes"
            )
        value = row[place]
        if not value or value in seen:
            problem = (
                f"has the {key} {value!r} twice, the second time" if value else f"has a row without {key}"
            )
            raise SourceError(f"the seed {path} {problem} {where}: each must occur once")
        seen.add(value)
        yield row


def _make_table(
    connection: DuckDBPyConnection, seed: dict[str, Any], places: list[int], rows: list[list[str]], path: Path
) -> None:
    file = RowsFile(path, len(places))
    for row in rows:
        file.write([row[place] or None for place in places])
    file.close()
    items = ", ".join(
        f"_lume_s{n} AS {quoted(name)}" for n, name in enumerate(("_lume_key", *seed["columns"]))
    )
    connection.execute(f"CREATE TEMP TABLE {seed['table']} AS SELECT {items} FROM ({file.reader})")
