"""The copy of the state file: made while the server runs, and what is left where the file is damaged."""

import asyncio
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync
from local.servers import serve

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._runs.health import Health
from lume_local._runs.sqlite import backup, copies, state_file
from lume_local._runs.sqlite.backup import back_up, back_up_hourly
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun


async def test_a_damaged_file_is_replaced_by_its_copy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "INTERVAL", 0.01)
    state = home / ".lume/state/runs.sqlite"
    copy = state.with_name("runs.sqlite.backup")
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
        async with asyncio.timeout(20):
            # A copy that was begun earlier may come after the run's end.
            while status_in(copy, run["id"]) != "SUCCEEDED":
                await asyncio.sleep(0.01)
    state.write_bytes(bytes(state.stat().st_size))
    with pytest.raises(ConfigurationError, match=r"can't be used .*: put its copy in place \(cp "):
        async with lume_local.serve(home / "flows", home / ".lume", [home]):
            pass
    shutil.copy(copy, state)
    async with serve(home) as wire:
        assert (await wire.get(run["id"])).document["status"] == "SUCCEEDED"
        assert (await wire.submit("people:v1", "people.csv")).status == 409


def status_in(copy: Path, run_id: str) -> str | None:
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as connection:
        row = connection.execute("SELECT status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return row and str(row[0])


async def test_a_large_file_is_checked_while_the_server_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it would hold up the start: what is missing at its end is noticed at once, the rest soon."""
    for module in (backup, state_file):
        monkeypatch.setattr(module, "CHECKED_AT_START", 0)
    state = home / ".lume/state/runs.sqlite"
    async with serve(home) as wire:
        await wire.run("people:v1", "people.csv")
    back_up(state)
    copy = backup.backup_of(state).read_bytes()
    with closing(sqlite3.connect(state)) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_source'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with state.open("r+b") as file:
        file.seek((page - 1) * size + 3)
        file.write(b"\xff" * 16)
    async with serve(home) as wire, asyncio.timeout(20):
        while (health := await wire.ask("GET", "/healthz")).status == 200:
            await asyncio.sleep(0.01)
        assert "the content of the state file: it is damaged" in health.document["detail"]
    assert backup.backup_of(state).read_bytes() == copy, "a damaged file replaces no copy"
    os.truncate(state, state.stat().st_size - size)
    with pytest.raises(ConfigurationError, match=r"can't be used \(database .* malformed\): put its copy"):
        async with serve(home):
            pass


async def test_the_check_of_a_large_file_ends_when_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "CHECKED_AT_START", 0)
    with closing(sqlite3.connect(tmp_path / "s")) as db:
        numbers = (
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200000) SELECT n FROM c"
        )
        db.execute(f"CREATE TABLE t AS {numbers}")
        db.commit()

    class Ended(Exception):
        pass

    def check() -> None:
        raise Ended

    with pytest.raises(Ended):
        backup.check_large(tmp_path / "s", check)
    backup.check_large(tmp_path / "s", lambda: None)


async def test_a_copy_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "s")
    await store.create(NewRun("f:v1", "a", "/a", None, False, None, ""))
    back_up(tmp_path / "s")
    before = (tmp_path / "s.backup").read_bytes()
    await store.create(NewRun("f:v1", "b", "/b", None, False, None, ""))

    def full(_: Path) -> None:
        raise OSError(28, "no room")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no room"):
        patch.setattr(copies, "sync_file", full)
        back_up(tmp_path / "s")
    assert (tmp_path / "s.backup").read_bytes() == before
    assert not (tmp_path / "s.backup.draft").exists()
    store.close()
    copy = sqlite3.connect(tmp_path / "s.backup")
    assert copy.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    copy.close()


def large(path: Path, mebibytes: int) -> SqliteStore:
    """A state file of that size."""
    store = SqliteStore(path)
    store._db.execute("CREATE TABLE ballast (bytes BLOB)")
    store._db.executemany("INSERT INTO ballast VALUES (?)", [[bytes(2**20)]] * mebibytes)
    return store


def submit(path: Path, name: str) -> None:
    with closing(sqlite3.connect(path, timeout=60)) as writer, writer:
        writer.execute("INSERT INTO notes VALUES (?, '')", [name])


def test_a_copy_is_of_one_moment_however_often_the_server_writes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    store = large(path, 2)
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    monkeypatch.setattr(copies, "_PAGES", 10)
    steps = list[int]()

    def write_in_between() -> None:
        submit(path, str(len(steps)))
        steps.append(len(steps))

    submit(path, "before")
    back_up(path, write_in_between)
    store.close()
    assert len(steps) <= pages / 10 + 2
    with closing(sqlite3.connect(tmp_path / "s.backup")) as copy:
        assert copy.execute("SELECT run_id FROM notes").fetchall() == [("before",)]
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_copy_under_way_does_not_keep_the_server_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = large(tmp_path / "s", 2)
    store.close()
    monkeypatch.setattr(copies, "_PAGES", 1)
    first, no_pause, steps = threading.Event(), threading.Event(), list[int]()
    real = backup.check_cancelled

    def check() -> None:
        first.set()
        assert no_pause.wait(20)
        steps.append(1)
        real()

    monkeypatch.setattr(backup, "check_cancelled", check)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(back_up_hourly, tmp_path / "s", Health(tmp_path))
        assert await run_sync(first.wait, 20)
        tasks.cancel_scope.cancel()
        no_pause.set()
    assert len(steps) <= 2
    assert {path.name for path in tmp_path.iterdir() if "backup" in path.name} == set()


async def test_its_age_is_in_the_health(home: Path) -> None:
    copy = home / ".lume/state/runs.sqlite.backup"
    async with serve(home) as wire:
        async with asyncio.timeout(20):
            while "backup_age_seconds" not in (health := (await wire.ask("GET", "/healthz")).document):
                await asyncio.sleep(0.01)
        assert 0 <= health["backup_age_seconds"] < 60
        os.utime(copy, (time.time() - 7200,) * 2)
        health = (await wire.ask("GET", "/healthz")).document
        assert 7200 <= health["backup_age_seconds"] < 7260


async def test_a_state_that_is_gone_with_its_copy_is_not_taken_for_new(home: Path) -> None:
    async with serve(home) as wire:
        await wire.run("people:v1", "people.csv")
    shutil.rmtree(home / ".lume/state")
    for _ in range(2):  # nor by a second attempt
        with pytest.raises(ConfigurationError, match=r"is missing, but .*/out holds .*Restore .* or move"):
            async with serve(home):
                pass
    os.rename(home / ".lume/out", home / "moved")
    async with serve(home) as wire:
        await wire.run("people:v1", "people.csv")


async def test_a_folder_for_outputs_that_is_prepared_is_no_sign_of_a_state(home: Path) -> None:
    shutil.rmtree(home / ".lume/state")
    (home / ".lume/out").mkdir()
    async with serve(home) as wire:
        await wire.run("people:v1", "people.csv")
