"""Ten million rows by one worker and over shards on all cores, with not one difference: `./scripts/soak shards`.

SOAK_ROWS says how many rows instead. Prints the time, and the CPU time of all processes.
"""

import importlib.util
import os
import resource
import sys
import time
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from attrs import evolve, frozen
from local.one_run import carried_out, job_of

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

ROWS = int(os.environ.get("SOAK_ROWS", "10000000"))
EXAMPLES = Path(__file__).parents[3] / "examples"
pytestmark = pytest.mark.timeout(7200)


@frozen
class Done:
    """What a run gave."""

    metrics: dict[str, Any]
    mapped: Path
    rejects: Path


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The customers of the examples, and many more."""
    spec = importlib.util.spec_from_file_location("make_customers", EXAMPLES / "make_customers.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["make_customers"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("customers") / "customers.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(module.lines(Random(1), ROWS))
    return path


def cpu() -> float:
    """Seconds of this process and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(folder: Path, source: Path, engine: dict[str, Any] | None) -> Done:
    (folder / "run").mkdir(parents=True)
    definition = tomllib.loads((EXAMPLES / "flows/customer_cleaner.v1.toml").read_text())
    mapped, rejects = folder / "mapped.parquet", folder / "rejects.csv"
    began, spent = time.perf_counter(), cpu()
    with connect() as connection:
        compiled = compile_flow(connection, read_definition(definition))
        job = evolve(job_of(compiled, folder / "run", [source], mapped, rejects), engine=engine)
        record = carried_out(connection, job)
    what = f"{record['metrics']['shards']['count']} shards" if engine else "one worker"
    print(f"\n{what}: {time.perf_counter() - began:.1f} s, {cpu() - spent:.1f} s of CPU")
    return Done(record["metrics"], mapped, rejects)


def test_not_one_difference(tmp_path: Path, customers: Path) -> None:
    size = customers.stat().st_size
    print(f"\n{ROWS:,} rows, {size / 1e6:.0f} MB")
    one = run(tmp_path / "one", customers, None)
    engine = {"url": "pool", "shard_bytes": max(1024, min(64 * 1024**2, size // 8))}
    sharded = run(tmp_path / "sharded", customers, engine)
    shards = sharded.metrics.pop("shards")
    assert shards["count"] >= 8
    assert shards["whole"] == {}
    assert sharded.metrics == one.metrics
    assert sharded.rejects.read_bytes() == one.rejects.read_bytes()
    rows = "SELECT *, file_row_number FROM read_parquet('{}', file_row_number=true)"
    first, second = rows.format(one.mapped), rows.format(sharded.mapped)
    with duckdb.connect() as connection:
        for left, right in ((first, second), (second, first)):
            query = f"SELECT count(*) FROM (({left}) EXCEPT ALL ({right}))"
            assert connection.execute(query).fetchall() == [(0,)]
