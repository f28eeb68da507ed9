"""Runs of a server from and into databases: what is told of them, and what kills leave."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import postgres_server
import psycopg
import pytest
from anyio.to_thread import run_sync
from local.flows import SLOW, slow_rows
from local.loads import table_run
from local.loads.table_run import ENV, Database, execute, flow_of
from local.processes import gone, workers
from local.servers import process, serve

import lume_local
from lume_local._shared.commit import committed
from lume_local._worker.databases import postgres as postgresql
from lume_local._worker.targets import database_target, target_kinds
from lume_local._worker.targets.database_target import DatabaseTarget
from lume_local._worker.targets.target import TargetError

INVOICES = """
flow = "invoices"
version = "v1"
[source]
format = "sql"
url_env = "WAREHOUSE_URL"
query = "SELECT id, amount FROM raw WHERE batch = :source_path ORDER BY id"
[target]
mapped = { url_env = "WAREHOUSE_URL", table = "clean", mode = "MODE", key = KEY }
[columns.id]
type = "integer"
required = true
unique = true
[columns.amount]
type = "number"
sql_type = "DECIMAL(12,2)"
minimum = 0
"""
ROWS = 300


def prepare(tmp_path: Path, database: Database, mode: str) -> None:
    """A folder with a flow, a table with two batches and one for the results."""
    text = INVOICES.replace("MODE", mode)
    text = text.replace("KEY", '["id"]') if mode == "upsert" else text.replace(", key = KEY", "")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/invoices.v1.toml").write_text(text)
    database.execute("CREATE TABLE raw (batch text, id bigint, amount text)")
    database.execute(
        "INSERT INTO raw WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "
        f"SELECT CASE WHEN i <= {ROWS} THEN 'b1' ELSE 'b2' END, i, "
        "CASE WHEN i % 100 = 0 THEN '-1' ELSE '2.50' END FROM n"
    )
    database.execute("CREATE TABLE clean (id bigint PRIMARY KEY, amount numeric(12,2), _lume_run_id text)")


def loaded(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT _lume_run_id, count(*) FROM clean GROUP BY 1 ORDER BY 1")


async def test_a_batch_that_leaves_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with table_run.sqlite(tmp_path, monkeypatch) as database:
        prepare(tmp_path, database, "append")
        text = (
            INVOICES.partition("[target]")[0]
            + '[target]\nmapped = "{run_id}/{source_path}.csv"\n[columns.id]\n'
        )
        (tmp_path / "flows/named.v1.toml").write_text(text.replace("invoices", "named"))
        async with serve(tmp_path) as wire:
            run = await wire.run("named:v1", "b1/")
            assert run["status"] == "FAILED"
            assert "has no name before its suffix" in run["metadata"]["error_message"]


@pytest.mark.thorough
async def test_what_is_told_of_such_a_run(tmp_path: Path, database: Database) -> None:
    prepare(tmp_path, database, "append")
    async with serve(tmp_path) as wire:
        run = await wire.run("invoices:v1", "b1")
        assert run["status"] == "PARTIAL_FAILED"
        metadata = run["metadata"]
        assert metadata["target_locations"]["mapped"] == f"{database.shown}?table=clean"
        assert (metadata["metrics"]["rows_mapped"], metadata["metrics"]["rows_rejected"]) == (297, 3)
        assert loaded(database) == [(run["id"], 297)]
        again = await wire.submit("invoices:v1", "b1")
        assert (again.status, again.kind) == (409, "already-processed")
        assert (await wire.run("invoices:v1", "b2"))["status"] == "PARTIAL_FAILED"
        for path in (f"/v1/runs/{run['id']}/mapped", f"/v1/runs/{run['id']}/outputs/mapped"):
            answer = await wire.ask("GET", path)
            assert answer.kind == "not-supported", answer.document
        rejects = await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")
        assert [item["amount"] for item in rejects.document["items"]] == ["-1"] * 3
        dry = await wire.submit("invoices:v1", "b2", dry_run=True)
        assert dry.document["status"] == "PARTIAL_FAILED", dry.document
        assert len(loaded(database)) == 2, "no more than before"
    for path in (tmp_path / ".lume").rglob("*"):
        assert path.is_dir() or not any(
            secret in path.read_bytes() for secret in (b"s3cret", b"lume:", b"lume@")
        )


@pytest.mark.thorough
async def test_a_waiting_run_of_a_backup_is_loaded_once_although_both_servers_execute_it(
    tmp_path: Path, database: Database
) -> None:
    prepare(tmp_path, database, "append")
    (tmp_path / "flows/slow.v1.toml").write_text(SLOW)
    (tmp_path / "slow.csv").write_text(slow_rows())
    async with serve(tmp_path) as wire:
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(slow, "TRANSFORMING")
        waiting = (await wire.submit("invoices:v1", "b1")).document["id"]
        await run_sync(lume_local.back_up, tmp_path / ".lume", tmp_path / "copy")
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        assert (await wire.until(waiting))["status"] == "PARTIAL_FAILED"
    assert loaded(database) == [(waiting, 297)]
    lume_local.restore(tmp_path / "copy", tmp_path / "new/.lume")
    (tmp_path / "flows").rename(tmp_path / "new/flows")
    async with serve(tmp_path / "new") as wire:
        assert (await wire.until(waiting))["status"] == "PARTIAL_FAILED"
    assert loaded(database) == [(waiting, 297)]


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Nobody else can write to the database, so that a load waits in the middle."""
    if database.kind == "sqlite":
        connection: Any = sqlite3.connect(os.environ[ENV].removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
    else:
        connection = psycopg.connect(os.environ[ENV])
        connection.execute("LOCK TABLE clean IN EXCLUSIVE MODE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


async def load_waits(database: Database, folder: Path) -> None:
    """Wait until the load has begun and waits for the table."""
    with anyio.fail_after(30):
        if database.kind == "sqlite":
            while not (folder / "begun.json").exists():
                await anyio.sleep(0.01)
        else:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while database.execute(query) == [(0,)]:
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("database", "mode", "whom"),
    [("sqlite", "append", "worker"), ("postgresql", "upsert", "server")],
    indirect=["database"],
)
async def test_a_kill_in_the_middle_of_a_load_leaves_nothing(
    tmp_path: Path, database: Database, mode: str, whom: str
) -> None:
    prepare(tmp_path, database, mode)
    async with process(tmp_path) as (server, wire):
        first = await wire.run("invoices:v1", "b1")
        with held(database):
            run_id = (await wire.submit("invoices:v1", "b2")).document["id"]
            await load_waits(database, tmp_path / ".lume/state/runs" / run_id)
            pids = workers(server.pid)
            if whom == "server":
                server.kill()
                await server.wait()
                assert await gone(pids)
            else:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                await wire.until(run_id)
    async with serve(tmp_path) as wire:
        run = await wire.until(run_id)
        assert run["status"] == "CRASHED", run["metadata"]["error_message"]
        assert loaded(database) == [(first["id"], 297)]
        assert database.execute("SELECT run_id FROM _lume_loads") == [(first["id"],)]
        again = await wire.run("invoices:v1", "b2")
        assert again["status"] == "PARTIAL_FAILED"
        assert sorted(loaded(database)) == sorted([(first["id"], 297), (again["id"], 297)])
    assert not list((tmp_path / ".lume/state/runs").glob("*"))


def test_a_process_that_ends_between_its_commit_and_the_database_s(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE clean (id bigint, name text)")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}

    def killed(step: Any) -> None:
        DatabaseTarget.abandon({"run_id": "run_1"})  # what the death of the process does to its connection
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(DatabaseTarget, "publish", killed)
        execute(flow_of(query="SELECT 1 AS id, 'a' AS name", target=target), tmp_path)
    assert committed(tmp_path / "run_1/run") is not None
    assert database.execute("SELECT count(*) FROM clean") == [(0,)]
    for _ in range(2):
        target_kinds.finish(tmp_path / "run_1/run")
    assert database.execute("SELECT count(*) FROM clean") == [(1,)]


def test_a_database_that_is_away_after_the_commit(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE clean (id bigint, name text)")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}
    url, pauses = os.environ[ENV], []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            monkeypatch.setenv(ENV, url)  # it is back

    def gone_away(step: Any) -> None:
        DatabaseTarget.abandon({"run_id": "run_1"})
        monkeypatch.setenv(ENV, "postgresql://u:secret@127.0.0.1:1/db")

    monkeypatch.setattr("lume_local._worker.targets.database_target.time.sleep", pause)
    with monkeypatch.context() as patch:
        patch.setattr(DatabaseTarget, "publish", gone_away)
        execute(flow_of(query="SELECT 1 AS id, 'a' AS name", target=target), tmp_path)
    target_kinds.finish(tmp_path / "run_1/run")
    assert pauses == [0.5, 1.0]
    assert database.execute("SELECT count(*) FROM clean") == [(1,)]
    gone_away(None)
    with pytest.raises(
        TargetError, match="Whether its rows are in clean can be seen in _lume_loads"
    ) as caught:
        target_kinds.finish(tmp_path / "run_1/run")
    assert "secret" not in str(caught.value)


@pytest.mark.thorough
def test_a_session_of_ours_that_the_database_does_not_know_to_be_gone(
    postgres: postgres_server.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim is not decided yet: whoever takes over waits for it, and later finds out what it has come to."""
    monkeypatch.setattr("lume_local._worker.targets.database_target.time.sleep", lambda seconds: None)
    monkeypatch.setitem(postgresql._SESSION, "lock_timeout", "50ms")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}
    flow = flow_of(query="SELECT 1 AS id, 'a' AS name", target=target)
    for run_id, is_committed in (("run_1", True), ("run_2", False)):
        with table_run.postgresql(postgres, monkeypatch) as database:
            database.execute("CREATE TABLE clean (id bigint, name text)")
            with monkeypatch.context() as patch:
                patch.setattr(DatabaseTarget, "publish", lambda step: None)
                execute(flow, tmp_path, run_id)
            ours = database_target._prepared.pop(run_id)  # as if this process were another
            with pytest.raises(TargetError, match="Whether its rows are in clean can be seen") as caught:
                target_kinds.finish(tmp_path / run_id / "run")
            assert caught.value.may_pass
            if is_committed:
                ours.commit()
            ours.close()
            target_kinds.finish(tmp_path / run_id / "run")
            assert database.execute("SELECT id, name FROM clean") == [(1, "a")]
            assert database.execute("SELECT run_id FROM _lume_loads") == [(run_id,)]
