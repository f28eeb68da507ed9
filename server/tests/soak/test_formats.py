"""One source of a million rows in each format, beside what plain Python says of every row: `./scripts/soak formats`.

SOAK_ROWS is how many rows there are (a million by default, where a sheet has the 1,048,575 that Excel allows).

The expectation is made of the numbers of the rows alone, and compared with the output line by line.
"""

import gzip
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from components import package
from local.flows import people
from local.one_run import carried_out, job_of

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

ROWS = int(os.environ.get("SOAK_ROWS", "1000000"))
MOST_OF_A_SHEET = 1_048_575
pytestmark = pytest.mark.timeout(7200)

COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True, "unique": True},
    "amount": {"type": "number", "sql_type": "DECIMAL(12,2)", "minimum": 0},
    "day": {"format": "date"},
    "note": {},
}
REPEATED, NEGATIVE, NO_DAY = (
    "id: repeats the value of an earlier row",
    "amount: is below 0",
    "day: is not a valid date",
)
Row = dict[str, Any]


def row(n: int) -> Row:
    """The n-th row, from 0: each 1,000th repeats an id, each 500th is below 0, each 700th has no real day."""
    return {
        "id": n - 1 if n % 1000 == 999 else n,
        "amount": f"{'-' if n % 500 == 250 else ''}{n % 10_000}.{n % 100:02}",
        "day": f"2024-02-{30 if n % 700 == 350 else 1 + n % 29:02}",
        "note": None if n % 5 == 0 else f'é, "{n}"',
    }


def reasons(n: int) -> list[str]:
    found = [(n % 500 == 250, NEGATIVE), (n % 700 == 350, NO_DAY), (n % 1000 == 999, REPEATED)]
    return [reason for is_so, reason in found if is_so]


def csv_lines(rows: int) -> Iterator[str]:
    yield "id,amount,day,note\n"
    for one in map(row, range(rows)):
        note = "" if one["note"] is None else '"' + one["note"].replace('"', '""') + '"'
        yield f"{one['id']},{one['amount']},{one['day']},{note}\n"


def objects(rows: int) -> Iterator[str]:
    for one in map(row, range(rows)):
        yield json.dumps(one, ensure_ascii=False)


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(csv_lines(rows))


def write_gzip(path: Path, rows: int) -> None:
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(csv_lines(rows))


def _copied(path: Path, rows: int, options: str) -> None:
    plain = path.with_name("plain.csv")
    write_csv(plain, rows)
    read = f"read_csv('{plain}', all_varchar=true, header=true, quote='\"', escape='\"')"
    duckdb.sql(f"COPY (FROM {read}) TO '{path}' ({options})")
    plain.unlink()


def write_zstd(path: Path, rows: int) -> None:
    _copied(path, rows, "FORMAT csv, HEADER true, COMPRESSION zstd")


def write_parquet(path: Path, rows: int) -> None:
    _copied(path, rows, "FORMAT parquet")


def write_ndjson(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{one}\n" for one in objects(rows))


def write_json(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        file.writelines(f"{',' if n else ''}\n  {one}" for n, one in enumerate(objects(rows)))
        file.write("\n]\n")


def write_excel(path: Path, rows: int) -> None:
    book = package("openpyxl").Workbook(write_only=True)
    sheet = book.create_sheet("Rows")
    sheet.append(["id", "amount", "day", "note"])
    for one in map(row, range(rows)):
        sheet.append([one["id"], one["amount"], one["day"], one["note"]])
    book.save(path)


FORMATS: dict[str, tuple[Callable[[Path, int], None], dict[str, Any]]] = {
    "csv": (write_csv, {}),
    "gzip": (write_gzip, {"compression": "gzip"}),
    "zstd": (write_zstd, {"compression": "zstd"}),
    "ndjson": (write_ndjson, {"format": "ndjson"}),
    "json": (write_json, {"format": "json"}),
    "parquet": (write_parquet, {"format": "parquet"}),
    "excel": (write_excel, {"format": "excel", "max_unpacked_bytes": 10**12}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_million_rows_of_one_source(tmp_path: Path, name: str) -> None:
    write, source = FORMATS[name]
    rows = MOST_OF_A_SHEET if name == "excel" and ROWS >= 1_000_000 else ROWS
    path = tmp_path / f"source.{name}"
    write(path, rows)
    (tmp_path / "run").mkdir()
    began, used = time.monotonic(), time.process_time()
    with connect() as connection:
        flow = compile_flow(connection, read_definition(people(columns=COLUMNS, source=source)))
        job = job_of(flow, tmp_path / "run", [path], tmp_path / "mapped.csv", tmp_path / "rejects.ndjson")
        metrics = carried_out(connection, job)["metrics"]
    took, used = time.monotonic() - began, time.process_time() - used
    check_metrics(metrics, rows)
    check_mapped(tmp_path / "mapped.csv", rows)
    check_rejects(tmp_path / "rejects.ndjson", rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"\n{name}: {rows:,} rows, {path.stat().st_size:,} bytes: {took:.1f} s, {used:.1f} CPU-s, peak {peak} MB"
    )


def check_metrics(metrics: dict[str, Any], rows: int) -> None:
    wanted: dict[str, int] = {}
    for n in range(rows):
        for reason in reasons(n):
            wanted[reason] = wanted.get(reason, 0) + 1
    rejected = sum(1 for n in range(rows) if reasons(n))
    assert metrics["reject_reasons"] == wanted
    assert metrics["rows_read"] == metrics["source"]["records"] == rows
    assert (metrics["rows_rejected"], metrics["rows_mapped"]) == (rejected, rows - rejected)


def check_mapped(path: Path, rows: int) -> None:
    """Line by line, in the order of the source."""
    wanted = (n for n in range(rows) if not reasons(n))
    with duckdb.connect() as connection:
        found = connection.execute(f"FROM read_csv('{path}', all_varchar=true, header=true, parallel=false)")
        while some := found.fetchmany(10_000):
            for values in some:
                one = row(next(wanted))
                assert values == (str(one["id"]), one["amount"], one["day"], one["note"])
    assert next(wanted, None) is None


def check_rejects(path: Path, rows: int) -> None:
    wanted = (n for n in range(rows) if reasons(n))
    with path.open(encoding="utf-8") as file:
        for line in file:
            n, found = next(wanted), json.loads(line)
            assert (found["_lume_row"], set(found["_lume_reasons"].split("; "))) == (n + 1, set(reasons(n)))
            assert (str(found["id"]), found["note"]) == (str(row(n)["id"]), row(n)["note"])
    assert next(wanted, None) is None
