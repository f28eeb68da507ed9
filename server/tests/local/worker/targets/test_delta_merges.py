"""Merges into Delta tables that would keep too many unchanged rows in memory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from deltalake import DeltaTable, Field, Schema, write_deltalake
from deltalake.schema import PrimitiveType
from local.loads.delta_log import commits_of, rows_of
from local.loads.lake_run import execute, flow_of

from lume_local._worker.targets import delta_target


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "lake/people"


@pytest.mark.parametrize("more", [{}, {"partition_by": ["name"]}, {"history": "scd2"}])
@pytest.mark.parametrize("held", [0, None])
def test_a_merge_that_would_hold_too_much(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], held: int | None
) -> None:
    """It writes all files anew, unless the bounds of the key leave them out."""
    if held is not None:
        monkeypatch.setattr(delta_target, "_HELD", held)
    flow = flow_of({"delta": str(table), "mode": "upsert", "key": ["id"], "create": True, **more})
    for n, csv in enumerate(["1,a\n5,a\n", "7,a\n9,a\n", "2,a\n5,b\n"]):
        execute(flow, tmp_path, f"id,name\n{csv}", f"run_{n}", at=f"2026-01-0{n + 1}T00:00:00+00:00")
    removed = [sum("remove" in one for one in actions) for _, actions in sorted(commits_of(table).items())]
    assert removed == [0, 0, 0, 1 if held is None else 2]
    assert execute(flow, tmp_path, "id,name\n", "run_3")["status"] == "SUCCEEDED"
    assert not any("remove" in one for one in commits_of(table)[4]), "no rows change nothing"
    rows = [row for row in rows_of(table) if row.get("current", True)]
    assert sorted((row["id"], row["name"]) for row in rows) == [
        (1, "a"),
        (2, "a"),
        (5, "b"),
        (7, "a"),
        (9, "a"),
    ]
    assert len(rows_of(table)) == 5 + ("history" in more)


def test_a_change_feed_has_only_changes(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta_target, "_HELD", 0)
    fields = [Field("id", PrimitiveType("long")), Field("name", PrimitiveType("string"))]
    fed = {"delta.enableChangeDataFeed": "true"}
    DeltaTable.create(str(table), Schema(fields), configuration=fed)
    flow = flow_of({"delta": str(table), "mode": "upsert", "key": ["id"]})
    execute(flow, tmp_path, "id,name\n1,a\n5,a\n7,a\n", "run_1")
    execute(flow, tmp_path, "id,name\n2,a\n5,b\n", "run_2")
    feed: Any = DeltaTable(str(table)).load_cdf(starting_version=2).read_all()
    columns = [feed.column(name).to_pylist() for name in ("id", "name", "_change_type")]
    assert sorted(zip(*columns, strict=True)) == [
        (2, "a", "insert"),
        (5, "a", "update_preimage"),
        (5, "b", "update_postimage"),
    ]


AT_ITS_LIMIT = """
import resource, sys
from pathlib import Path
from attrs import asdict
from local.loads.lake_run import flow_of
from lume_local._worker.databases.built import opened
from lume_local._worker.main import MOST_DATA
from lume_local._worker.targets.delta_target import DeltaLake
from lume_local._worker.targets.lake_target import LakeLoad

columns = [["id", "BIGINT"], *([f"c{n}", "VARCHAR" if n % 2 else "BIGINT"] for n in range(12))]
flow = flow_of({"delta": sys.argv[1], "mode": "upsert", "key": ["id"]})
run = {"run_id": "r", "flow": "f", "source_path": "s", "columns": columns, "required": ["id"], "at": ""}
load = LakeLoad(**asdict(flow.mapped) | run)
resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
with opened(Path(sys.argv[2])) as rows:
    DeltaLake.open(load).load(load, rows, {})
"""


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_the_memory_of_a_merge_is_bounded(table: Path, tmp_path: Path) -> None:
    """No file has one of the keys: deltalake would hold 78 million values, and a worker abort."""
    query = "SELECT (hash(i) // 2)::BIGINT AS id, " + ", ".join(
        f"'text' || hash(i * {n}) AS c{n}" if n % 2 else f"i * {n + 1} AS c{n}" for n in range(12)
    )
    with duckdb.connect() as connection:
        for first in range(0, 6_000_000, 600_000):
            rows = connection.sql(
                f"{query}, NULL::VARCHAR AS _lume_run_id FROM range({first}, {first + 600_000}) t(i)"
            )
            write_deltalake(str(table), rows, mode="append")
        built = tmp_path / "built.parquet"
        connection.execute(
            f"COPY ({query} FROM range(15000000, 15001000) t(i)) TO '{built}' (FORMAT parquet)"
        )
    program = [sys.executable, "-c", AT_ITS_LIMIT, str(table), str(built)]
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(program, env=paths, capture_output=True, check=False, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert polars.scan_delta(str(table)).select(polars.len()).collect().item() == 6_001_000
