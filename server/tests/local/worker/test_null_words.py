"""`source.null`: what a source writes instead of nothing."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.one_run import execute
from local.workbooks import written

ROWS = [["1", "2.5"], ["NA", "3"], ["3", " NA "], ["4", "na"], ["-", "5"]]
COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True},
    "v": {"type": "number"},
    "text": {"sql": "v"},
}


def as_csv(folder: Path) -> bytes:
    return ("id,v\n" + "".join(f'{one},"{other}"\n' for one, other in ROWS)).encode()


def as_ndjson(folder: Path) -> bytes:
    return "".join(f'{{"id": "{one}", "v": "{other}"}}\n' for one, other in ROWS).encode()


def as_parquet(folder: Path) -> bytes:
    values = ", ".join(f"('{one}', '{other}')" for one, other in ROWS)
    duckdb.sql(f"FROM (VALUES {values}) AS t(id, v)").write_parquet(str(folder / "made"))
    return (folder / "made").read_bytes()


def as_excel(folder: Path) -> bytes:
    return written("xlsx", [["id", "v"], *ROWS])


@pytest.mark.parametrize(
    ("format", "made"),
    [("csv", as_csv), ("ndjson", as_ndjson), ("parquet", as_parquet), ("excel", as_excel)],
)
def test_words_for_nothing_are_null_in_every_format(tmp_path: Path, format: str, made: Any) -> None:
    source = {"format": format, "null": ["NA", "-"]}
    result = execute(tmp_path / "run", made(tmp_path), columns=COLUMNS, source=source)
    assert result.mapped == [(1, 2.5, "2.5"), (3, None, None)]
    assert result.metrics["reject_reasons"] == {"id: is required": 2, "v: is not a valid number": 1}
    assert [(row["id"], row["v"]) for row in result.rejects] == [("NA", "3"), ("4", "na"), ("-", "5")]
