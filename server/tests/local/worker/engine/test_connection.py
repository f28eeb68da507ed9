"""The database that checks flows reaches no file, no more than the one that executes them."""

from pathlib import Path

import duckdb
import pytest
from local.flows import people
from local.one_run import job_of

from lume_local._flow.fields import FlowError
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._worker.connection import confine, confine_check, connect, memory_of
from lume_local._worker.sources.source import File

ATTEMPTS = [
    "FROM read_csv('{0}/a.csv')",
    "FROM read_csv('{0}/run/../a.csv')",
    "FROM read_text('/etc/passwd')",
    "FROM glob('{0}/*')",
    "COPY (SELECT 1) TO '{0}/b.csv'",
    "ATTACH '{0}/db'",
    "INSTALL httpfs",
    "LOAD '{0}/x'",
    "SET enable_external_access=true",
    "SET allowed_directories=['/']",
    "SET allowed_paths=['/']",
    "SET temp_directory='{0}'",
]


@pytest.mark.parametrize("is_check", [True, False])
def test_an_expression_reaches_no_file(tmp_path: Path, is_check: bool) -> None:
    """But that of its run."""
    source, folder = tmp_path / "in.csv", tmp_path / "run"
    folder.mkdir()
    for path in (source, tmp_path / "a.csv"):
        path.write_text("a\n1\n")
    with connect() as connection:
        if is_check:
            confine_check(connection)
        else:
            job = job_of({"cleaners": []}, folder, [], source, source)
            confine(connection, folder, [File(source, "in.csv", "csv", 4)], job)
            assert connection.execute(f"FROM read_csv('{source}')").fetchall() == [(1,)]
        for attempt in ATTEMPTS:
            with pytest.raises(duckdb.Error):
                connection.execute(attempt.format(tmp_path)).fetchall()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "in.csv", "run"]


async def test_checks_follow_each_other_and_a_run(tmp_path: Path) -> None:
    async with WorkerPool().running() as pool:
        first = await pool.check(people())
        with pytest.raises(FlowError):
            await pool.check(people(columns={"a": {"sql": "nonsense("}}))
        assert await pool.check(people()) == first


@pytest.mark.parametrize("limit", ["900KB", "300MB", "1GB", "12GiB", "2TB"])
def test_the_memory_that_duckdb_takes(limit: str) -> None:
    """It names its limit in words, with one digit after the point."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "GiB": 2**30, "TB": 10**12}
    expected = next(
        int(limit.removesuffix(unit)) * size for unit, size in units.items() if limit.endswith(unit)
    )
    with connect() as connection:
        connection.execute(f"SET memory_limit='{limit}'")
        assert abs(memory_of(connection) / expected - 1) < 0.03
