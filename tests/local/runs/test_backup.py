"""The copy of the state file: made while the server runs, and what is left where the file is damaged."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from local.servers import serve

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._runs.records import NewRun
from lume_local._runs.sqlite import backup
from lume_local._runs.sqlite.backup import back_up
from lume_local._runs.sqlite.store import SqliteStore


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


async def test_a_copy_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "s")
    await store.create(NewRun("f:v1", "a", "/a", None, False, None, ""))
    back_up(tmp_path / "s")
    before = (tmp_path / "s.backup").read_bytes()
    await store.create(NewRun("f:v1", "b", "/b", None, False, None, ""))

    def full(_: Path) -> None:
        raise OSError(28, "no room")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no room"):
        patch.setattr(backup, "sync_file", full)
        back_up(tmp_path / "s")
    assert (tmp_path / "s.backup").read_bytes() == before
    assert not (tmp_path / "s.backup.draft").exists()
    store.close()
    copy = sqlite3.connect(tmp_path / "s.backup")
    assert copy.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    copy.close()
