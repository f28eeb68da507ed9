"""Numbers keep their digits from the source to every format of output and to the pages of its rows."""

import json
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.one_run import execute

from lume_local._shared.protocol import Read, RowsPage
from lume_local._worker.outputs.pages import read_page

TYPES = {
    f"d{width}_{scale}": (width, scale)
    for scale in range(39)
    for width in ({scale, 15, 16, 38} if scale in (1, 2, 14, 15) else {38})
}
COLUMNS: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "required": True},
    "huge": {"type": "integer", "sql_type": "HUGEINT"},
    **{
        name: {"type": "number", "sql_type": f"DECIMAL({width},{scale})"}
        for name, (width, scale) in TYPES.items()
    },
}
"""Widths on both sides of what a double holds."""


def plain(unit: int, scale: int) -> str:
    """So many units of the last digit."""
    digits = str(abs(unit)).rjust(scale + 1, "0")
    at = len(digits) - scale
    return ("-" if unit < 0 else "") + digits[:at] + ("." + digits[at:] if scale else "")


def numbers(rng: random.Random) -> list[list[str]]:
    """The largest, the smallest, and some at random."""
    rows = []
    for pick in (
        lambda most: most,
        lambda most: -most,
        lambda _: 1,
        lambda _: -1,
        lambda _: 0,
        *[lambda most: rng.randrange(-most, most)] * 3,
    ):
        units = [(10**width - 1, scale) for width, scale in [(38, 0), *TYPES.values()]]
        rows.append([plain(pick(most), scale) for most, scale in units])
    return rows


def exact(text: str) -> Any:
    """Strict JSON, with its numbers as they are written."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=pytest.fail)


def page(path: Path, rows: int, **changes: Any) -> list[dict[str, Any]]:
    options = {
        "csv": {"delim": ",", "quote": '"', "escape": ""},
        "encoding": "utf-8",
        "kinds": dict.fromkeys(COLUMNS, "number"),
    }
    found = read_page(
        Read(str(path), identity="", position="0", row=0, rows=rows, limit=100, **options, **changes)
    )
    assert isinstance(found, RowsPage), found
    items: list[dict[str, Any]] = exact(found.items)
    return items


@pytest.mark.parametrize(
    ("source", "suffix"),
    [("csv", ".ndjson"), ("ndjson", ".csv"), ("parquet", ".parquet"), ("ndjson", ".ndjson")],
)
def test_every_scale(tmp_path: Path, suffix: str, source: str) -> None:
    rows = numbers(random.Random(38))
    names = list(COLUMNS)
    given = [[str(n), *row] for n, row in enumerate(rows)] + [["x", *row] for row in rows]
    content = content_of(tmp_path, source, names, given)
    execute(tmp_path / "run", content, suffix, suffix, columns=COLUMNS, source={"format": source})
    wanted = [dict(zip(names, map(Decimal, [str(n), *row]), strict=True)) for n, row in enumerate(rows)]
    mapped = tmp_path / f"run/mapped{suffix}"
    if suffix == ".ndjson":
        assert [exact(line) for line in mapped.read_text().splitlines()] == wanted
    assert page(mapped, len(rows)) == wanted
    rejects = page(tmp_path / f"run/rejects{suffix}", len(rows), is_rejects=True)
    assert [row.pop("id") for row in rejects] == ["x"] * len(rows)
    for row in wanted:
        del row["id"]
    # What was rejected are texts, but for the objects of an NDJSON source as they were.
    assert [{name: Decimal(row[name]) for name in names[1:]} for row in rejects] == wanted


def content_of(folder: Path, source: str, names: list[str], rows: list[list[str]]) -> bytes:
    lines = [",".join(names), *map(",".join, rows)]
    if source == "csv":
        return "\n".join(lines).encode()
    if source == "ndjson":
        members = [
            [f'"{name}": {value}' for name, value in zip(names[1:], row[1:], strict=True)] for row in rows
        ]
        return "\n".join(
            f'{{"id": "{row[0]}", {", ".join(rest)}}}' for row, rest in zip(rows, members, strict=True)
        ).encode()
    (folder / "made.csv").write_text("\n".join(lines))
    types = {
        "id": "VARCHAR",
        "huge": "DECIMAL(38,0)",
        **{name: f"DECIMAL({w},{s})" for name, (w, s) in TYPES.items()},
    }
    duckdb.sql(f"COPY (FROM read_csv('{folder}/made.csv', columns={types})) TO '{folder}/made.parquet'")
    return (folder / "made.parquet").read_bytes()


NOT_FINITE = ["nan", "NaN", "-nan", "inf", "Infinity", "-inf", "-Infinity", "1e309", "-1e309", "1e39"]


@pytest.mark.parametrize("sql_type", ["DOUBLE", "FLOAT"])
def test_no_output_has_a_number_that_json_has_not(tmp_path: Path, sql_type: str) -> None:
    values = ", ".join(f"'{value}'::DOUBLE" for value in ["nan", "inf", "-inf", "1e308", "-1e308"])
    duckdb.sql(f"COPY (SELECT unnest([{values}, 1.5]) AS v) TO '{tmp_path}/made.parquet'")
    columns = {
        "v": {"type": "number", "sql_type": sql_type},
        "twice": {"type": "number", "sql_type": sql_type, "sql": "CAST(v AS DOUBLE) * 10"},
        "text": {"sql": "CAST(CAST(v AS DOUBLE) * 10 AS VARCHAR)"},
    }
    for name, content in {
        "parquet": (tmp_path / "made.parquet").read_bytes(),
        "csv": "\n".join(["v", *NOT_FINITE, "1.5"]).encode(),
        "ndjson": "\n".join(
            [*(f'{{"v": {json.dumps(value)}}}' for value in NOT_FINITE), '{"v": 1.5}', '{"v": NaN}']
        ).encode(),
    }.items():
        execute(tmp_path / name, content, ".ndjson", ".ndjson", columns=columns, source={"format": name})
        mapped = [exact(line) for line in (tmp_path / name / "mapped.ndjson").read_text().splitlines()]
        assert mapped
        assert mapped[-1] == {"v": Decimal("1.5"), "twice": 15, "text": "15.0"}
        assert all(math.isfinite(row["v"]) for row in mapped)
        for line in (tmp_path / name / "rejects.ndjson").read_text().splitlines():
            exact(line)
