"""Sources of other formats at random, from a seed: compressed files, tables of texts, several files."""

import gzip
import io
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from attrs import evolve
from components import package
from local.oracles.oracle import many_verdict, table_verdict
from local.oracles.plain_csv import Dialect, count_lines
from local.oracles.random_files import (
    KINDS,
    Case,
    csv_case,
    flow_of,
    random_columns,
    spoilt,
    text_for,
    written,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Table = list[list[str | None]]


def compressed_case(rng: random.Random, rows: int) -> Case:
    """A CSV file in members that were cut anywhere, as tools append them."""
    case, name = csv_case(rng, rows), rng.choice(("gzip", "zstd"))
    pack: Callable[[bytes], bytes] = gzip.compress if name == "gzip" else zstd.compress
    cuts = sorted(rng.randrange(len(case.content) + 1) for _ in range(rng.randrange(3)))
    edges = zip([0, *cuts], [*cuts, len(case.content)], strict=True)
    content = b"".join(pack(case.content[start:end]) for start, end in edges)
    return evolve(
        case, content=content, flow={**case.flow, "source": {**case.flow["source"], "compression": name}}
    )


def _table(rng: random.Random, count: int) -> tuple[dict[str, dict[str, Any]], list[str], Table]:
    columns = random_columns(rng, rng.randrange(1, 5))
    names = [*columns, *(f"x{n}" for n in range(rng.randrange(3)))]
    rng.shuffle(names)
    kinds = [columns.get(name, KINDS["VARCHAR"]) for name in names]
    rows = [[None if rng.random() < 0.05 else text_for(rng, kind) for kind in kinds] for _ in range(count)]
    return columns, names, rows


def _case(
    columns: dict[str, Any],
    names: list[str],
    rows: Table,
    source: dict[str, Any],
    content: bytes,
    lines: int = 0,
) -> Case:
    of_target = [[row[names.index(name)] for name in columns] for row in rows]
    return Case(content, flow_of(columns, source), columns, table_verdict(of_target, columns, lines))


def parquet_case(rng: random.Random, count: int, folder: Path) -> Case:
    """A Parquet file of texts."""
    columns, names, rows = _table(rng, count)
    path = folder / "made.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE made ({', '.join(f'{name} VARCHAR' for name in names)})")
        connection.executemany(f"INSERT INTO made VALUES ({', '.join('?' * len(names))})", rows)
        connection.execute(f"COPY made TO '{path}' (FORMAT parquet)")
    return _case(columns, names, rows, {"format": "parquet"}, path.read_bytes())


def json_case(rng: random.Random, count: int) -> Case:
    """A JSON array; a NULL may be a member that is missing."""
    columns, names, rows = _table(rng, count)
    objects = [
        {
            name: value
            for name, value in zip(names, row, strict=True)
            if value is not None or rng.random() < 0.5
        }
        for row in rows
    ]
    text = json.dumps(objects, indent=rng.choice((None, 2)), ensure_ascii=rng.random() < 0.5)
    content = text.encode()
    return _case(columns, names, rows, {"format": "json"}, content, count_lines(content))


def excel_case(rng: random.Random, count: int) -> Case:
    """A sheet of texts. An empty one is no cell, and a row without cells is none."""
    openpyxl = package("openpyxl")
    columns, names, found = _table(rng, count)
    rows = [[(value or "").replace("\r", "") or None for value in row] for row in found]
    book = openpyxl.Workbook()
    for row in [names, *rows]:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return _case(columns, names, [row for row in rows if any(row)], {"format": "excel"}, out.getvalue())


def many_case(rng: random.Random, count: int) -> tuple[list[tuple[str, bytes]], Case]:
    """CSV files with the same columns in other orders, and with others beside them."""
    columns, dialect = random_columns(rng, rng.randrange(1, 5)), rng.choice((Dialect(), Dialect(";", "'")))
    files = []
    for number in range(rng.randrange(2, 5)):
        names = [*columns, *(f"x{rng.randrange(9)}{n}" for n in range(rng.randrange(3)))]
        rng.shuffle(names)
        kinds = [columns.get(name, KINDS["VARCHAR"]) for name in names]
        lines = [
            dialect.delim.join(written(rng, text_for(rng, kind), dialect) for kind in kinds) + "\n"
            for _ in range(count)
        ]
        header = dialect.delim.join(names) + "\n"
        content = spoilt(rng, (header + "".join(lines)).encode(), len(header), rng.choice((0, 0, 1, 3)))
        files.append((f"{number}.csv", content))
    options = {"delim": dialect.delim, "quote": dialect.quote, "escape": dialect.escape}
    verdict = many_verdict(files, dialect, columns)
    return files, Case(b"", flow_of(columns, {"csv": options}), columns, verdict)
