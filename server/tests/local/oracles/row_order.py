"""A flow with every feature over rows of any length, and in plain Python what must become of each row, in order."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars
from attrs import evolve, frozen
from local.flows import people
from local.one_run import carried_out, fetch, job_of

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

Row = tuple[str, ...]
NAMES = ("id", "code", "other", "amount", "pad")
SEEDS: dict[str, dict[str, tuple[str | None, str | None]]] = {
    "names": {f"K{n}": (f"name {n}", f"kind {n % 3}") for n in range(40)},
    "places": {f"P{n}": (f"place {n}", "") for n in range(3)},
}
REPEATS, TOO_MUCH = "id: repeats the value of an earlier row", "amount: is above 900"
NOTHING, FILTERED = "K41", "K17"
SOURCE = {"max_line_bytes": 1000, "null": [NOTHING], "where": f"code IS DISTINCT FROM '{FILTERED}'"}
FLOW: dict[str, Any] = {
    "seeds": {name: {"path": f"{name}.csv", "key": "key"} for name in SEEDS},
    "columns": {
        "id": {"type": "integer", "required": True, "unique": True},
        "name": {"sql": "seed('names', code, 'name')"},
        "kind": {"sql": "upper(seed('names', code, 'kind'))"},
        "place": {"sql": "seed('places', trim(other), 'name')"},
        "amount": {"type": "integer", "maximum": 900},
    },
    "rules": [{"name": "few", "sql": "amount < 890", "on_fail": "warn"}],
    "expect": [{"name": "some", "sql": "min(id) = 0 AND count(name) > 0 AND rows_read > rows_mapped"}],
}


def rows_of(count: int, length: int) -> list[Row]:
    """Rows of `length` bytes as CSV. Every hundredth or so repeats the id of one that is far from it, or is bad."""
    rows = []
    for n in range(count):
        number = n - n // 3 if n % 101 == 100 else n
        row = (str(number), f"K{n % 43}", f" P{n % 5}", str(n * 37 % 911))
        used = len(",".join(row)) + 2
        rows.append((*row, "x" * max(0, length - used)))
    return rows


def wanted(
    rows: list[Row], *, unique: bool = True, looks_up: bool = True
) -> tuple[list[tuple[Any, ...]], list[tuple[int, str, str]]]:
    """The mapped rows; of the rejects their number, their reason and their id."""
    name: str | None
    kind: str | None
    place: str | None
    mapped: list[tuple[Any, ...]] = []
    rejects = []
    held = set[int]()
    for n, (id_, code, other, amount, _) in enumerate(rows, 1):
        number, much = int(id_), int(amount)
        if code == FILTERED:
            continue
        if much > 900:
            rejects.append((n, TOO_MUCH, id_))
        elif unique and number in held:
            rejects.append((n, REPEATS, id_))
        else:
            held.add(number)
            name = kind = None if code == NOTHING else code
            place = other.strip()
            if looks_up:
                name, kind = SEEDS["names"].get(code, (None, None))
                place = SEEDS["places"].get(place, (None, None))[0]
            mapped.append((number, name, kind and kind.upper(), place, much))
    return mapped, rejects


def files_of(rows: list[Row], format: str, folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """The flow's source, and the files that hold the rows in a format."""
    if format == "globbed":
        third = len(rows) // 3
        parts = rows[:third], rows[third : third + 7], rows[third + 7 :]
        return {}, [_written(folder / f"in{n}.csv", _csv(part)) for n, part in enumerate(parts)]
    if format == "gzip":
        return {}, [_written(folder / "in.csv.gz", gzip.compress(_csv(rows), 1))]
    if format == "ndjson":
        lines = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows)
        return {"format": "ndjson"}, [_written(folder / "in.ndjson", lines.encode())]
    if format == "parquet":
        path = folder / "in.parquet"
        table = polars.DataFrame(rows, schema=dict.fromkeys(NAMES, polars.String), orient="row")
        # A row group of 2,048 rows and a few more ends in a short vector.
        table.write_parquet(path, row_group_size=2048 + len(rows[0][-1]) % 60 + 1)
        return {"format": "parquet"}, [path]
    return {}, [_written(folder / "in.csv", _csv(rows))]


FORMATS = ("csv", "gzip", "globbed", "ndjson", "parquet")


def _csv(rows: list[Row]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([NAMES, *rows])
    return out.getvalue().encode()


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@frozen
class Given:
    """What a run gave, as `wanted` says it, and its metrics."""

    mapped: list[tuple[Any, ...]]
    rejects: list[tuple[int, str, str]]
    metrics: dict[str, Any]


def given(
    folder: Path,
    rows: list[Row],
    format: str,
    *,
    threads: int = 2,
    engine: dict[str, Any] | None = None,
    **changes: Any,
) -> Given:
    """Run the flow."""
    (folder / "run").mkdir(parents=True)
    source, paths = files_of(rows, format, folder)
    seeds = {}
    for name, values in SEEDS.items():
        lines = "".join(f"{key},{value},{more}\n" for key, (value, more) in values.items())
        path = _written(folder / f"{name}.csv", f"key,name,kind\n{lines}".encode())
        seeds[name] = {"path": str(path), "looked_up": ""}
    with connect() as connection:
        flow = compile_flow(
            connection, read_definition(people(**FLOW | {"source": SOURCE | source} | changes))
        )
    targets = folder / "mapped.parquet", folder / "rejects.parquet"
    with connect() as connection:
        job = job_of(flow, folder / "run", paths, *targets)
        job = evolve(job, seeds=seeds if flow["seeds"] else {}, threads=threads, engine=engine)
        record = carried_out(connection, job)
    rejected = fetch(f"{folder}/rejects.parquet") if targets[1].exists() else []
    return Given(fetch(f"{folder}/mapped.parquet"), list(_kept(rejected, len(paths) > 1)), record["metrics"])


def _kept(rejected: list[tuple[Any, ...]], of_files: bool) -> Iterator[tuple[int, str, str]]:
    for row in rejected:
        yield row[0], row[2], row[3 + of_files]
