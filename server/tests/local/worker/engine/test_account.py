"""A run whose row counts do not match writes nothing; nor does one whose files would take the place of others."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.one_run import carried_out, compiled, execute, job_of

from lume_local._worker import one_process
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunBroke, RunFailed
from lume_local._worker.sources.read import Intake, read_source
from lume_local._worker.sql import copy_to
from lume_local._worker.steps import Context

CONTENT = 'id\n1\nx\n2\n3,\n"4\n'


@pytest.mark.parametrize("more", [1, -1])
def test_rows_that_are_read_and_were_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    def miscounted(*arguments: Any, **named: Any) -> Intake:
        intake = read_source(*arguments, **named)
        intake.account.records += more
        return intake

    monkeypatch.setattr(one_process, "read_source", miscounted)
    with pytest.raises(RunBroke, match=f"do not match .*: {5 + more} records in the source, but 5 rows read"):
        execute(tmp_path, CONTENT)
    assert list(tmp_path.glob("*.*")) == []


@pytest.mark.parametrize(("part", "rows"), [("mapped.parquet", 2), ("rejects.csv", 3)])
def test_rows_that_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, rows: int
) -> None:
    def short(
        connection: duckdb.DuckDBPyConnection, query: str, target: Path, *options: str, columns: int = 1
    ) -> int:
        return copy_to(connection, query, target, *options, columns=columns) - (target.name == part)

    monkeypatch.setattr(one_process, "copy_to", short)
    monkeypatch.setattr("lume_local._worker.rejects.copy_to", short)
    with pytest.raises(
        RunBroke, match=f"{rows} rows .*, but {rows - 1} rows written to target.{part.split('.')[0]}"
    ):
        execute(tmp_path, CONTENT)
    assert list(tmp_path.glob("*.*")) == []


@pytest.mark.parametrize(
    ("mapped", "rejects", "words"),
    [
        ("link/out.csv", "real/out.csv", "target.rejects is the same file as target.mapped"),
        ("source", "rejects.csv", "target.mapped is the same file as the source"),
        ("mapped.csv", "link/../source", "target.rejects is the same file as the source"),
    ],
)
def test_files_that_are_one(tmp_path: Path, mapped: str, rejects: str, words: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "source").write_text(CONTENT)
    (tmp_path / "run").mkdir()
    with connect() as connection:
        job = job_of(
            compiled(), tmp_path / "run", [tmp_path / "source"], tmp_path / mapped, tmp_path / rejects
        )
        with pytest.raises(RunFailed, match=words):
            carried_out(connection, job)
    assert (tmp_path / "source").read_text() == CONTENT


def test_a_cancelled_run_stops_while_python_reads(tmp_path: Path) -> None:
    (tmp_path / "source").write_text(CONTENT)
    (tmp_path / "run").mkdir()

    def stop() -> None:
        raise duckdb.InterruptException("cancelled")

    paths = tmp_path / "run", [tmp_path / "source"], tmp_path / "m.csv", tmp_path / "r.csv"
    for source in ({}, {"format": "ndjson"}, {"csv": {"encoding": "latin-1"}}):
        job = job_of(compiled(source=source), *paths)
        with connect() as connection, pytest.raises(duckdb.InterruptException):
            one_process.execute(Context(connection, job, lambda name, rows: None, stop))
