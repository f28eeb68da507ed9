"""The database that checks flows reaches no file, no more than the one that executes them."""

from pathlib import Path

import duckdb
import pytest
from local.flows import people

from lume_local._flow.fields import FlowError
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._worker.connection import confine_check, connect


@pytest.mark.parametrize(
    "attempt",
    [
        "FROM read_csv('{0}/a.csv')",
        "FROM read_text('/etc/passwd')",
        "FROM glob('{0}/*')",
        "COPY (SELECT 1) TO '{0}/b.csv'",
        "ATTACH '{0}/db'",
        "INSTALL httpfs",
        "LOAD '{0}/x'",
        "SET enable_external_access=true",
        "SET allowed_directories=['/']",
        "SET temp_directory='{0}'",
    ],
)
def test_a_check_reaches_no_file(tmp_path: Path, attempt: str) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with connect() as connection:
        confine_check(connection)
        with pytest.raises(duckdb.Error):
            connection.execute(attempt.format(tmp_path)).fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


async def test_checks_follow_each_other_and_a_run(tmp_path: Path) -> None:
    async with WorkerPool().running() as pool:
        first = await pool.check(people())
        with pytest.raises(FlowError):
            await pool.check(people(columns={"a": {"sql": "nonsense("}}))
        assert await pool.check(people()) == first
