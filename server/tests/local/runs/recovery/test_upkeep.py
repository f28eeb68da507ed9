"""The daily sweep deletes what is old, and requests for that are refused; retries pause longer and longer."""

import asyncio
import sqlite3
from pathlib import Path

import anyio
import pytest
from local.servers import serve
from local.states import moved

from lume_local._runs import upkeep
from lume_local._runs.health import Health
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import Cursor, CursorForgotten, NewRun, StoreUnavailable
from lume_local._runs.times import ago_text

DAY = 86400.0


async def fill(store: SqliteStore, count: int = 1) -> None:
    """So many runs that have ended, each with a key, two changes and a delivered delivery."""
    for number in range(count):
        source = f"/{(await store.newest()).seq}-{number}"
        run, _ = await store.create(NewRun("f:v1", "a", source, None, False, source, "", "http://127.0.0.1/"))
        await moved(store, run.run_id, "FAILED", event=b"{}")
        await store.deliveries.delivered((await store.deliveries.waiting(1))[0].id)


async def left(store: SqliteStore, after: int) -> int:
    """How many changes come after one."""
    changes, _ = await store.changes(Cursor(0, after), 100)
    return len(changes)


def age(path: Path, seconds: float) -> None:
    """Make all that is there so old."""
    db = sqlite3.connect(path)
    with db:
        for table in ("changes", "idempotency_keys", "deliveries"):
            db.execute(f"UPDATE {table} SET at = ?", [ago_text(seconds)])
    db.close()


def counts(path: Path) -> dict[str, int]:
    db = sqlite3.connect(path)
    tables = ("runs", "changes", "idempotency_keys", "deliveries")
    found = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    db.close()
    return found


async def until_empty(path: Path) -> None:
    async with asyncio.timeout(20):
        while counts(path)["changes"]:
            await asyncio.sleep(0.005)


async def test_only_what_is_old_is_forgotten_and_runs_stay(store: SqliteStore, tmp_path: Path) -> None:
    await fill(store, 3)
    age(tmp_path / "runs.sqlite", 31 * DAY)
    await fill(store, 2)
    before, newest = ago_text(30 * DAY), await store.newest()
    assert await store.forget(before, 100) == 3 * 4
    assert await store.forget(before, 100) == 0
    assert counts(tmp_path / "runs.sqlite") == {
        "runs": 5,
        "changes": 4,
        "idempotency_keys": 2,
        "deliveries": 2,
    }
    assert await store.newest() == newest == Cursor(0, 10)
    with pytest.raises(CursorForgotten):
        await store.changes(Cursor(0, 5), 100)
    assert await left(store, 6) == 4


async def test_a_clock_that_was_set_back_leaves_no_gaps(store: SqliteStore, tmp_path: Path) -> None:
    await fill(store, 2)
    db = sqlite3.connect(tmp_path / "runs.sqlite")
    with db:
        db.execute("UPDATE changes SET at = ? WHERE seq IN (1, 3)", [ago_text(31 * DAY)])
    db.close()
    await store.forget(ago_text(30 * DAY), 100)
    with pytest.raises(CursorForgotten):
        await store.changes(Cursor(0, 2), 9)
    assert await left(store, 3) == 1


async def test_what_is_not_delivered_yet_stays(store: SqliteStore, tmp_path: Path) -> None:
    run, _ = await store.create(NewRun("f:v1", "a", "/a", None, False, None, "", "http://127.0.0.1/"))
    await moved(store, run.run_id, "FAILED", event=b"{}")
    age(tmp_path / "runs.sqlite", 31 * DAY)
    await store.forget(ago_text(30 * DAY), 100)
    (delivery,) = await store.deliveries.waiting(9)
    await store.deliveries.failed(delivery.id, "given up", None)
    assert await store.forget(ago_text(30 * DAY), 100) == 1
    assert counts(tmp_path / "runs.sqlite")["deliveries"] == 0


async def test_a_server_begins_by_forgetting(home: Path) -> None:
    state = home / ".lume/state/runs.sqlite"
    async with serve(home) as wire:
        start = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
        answer = await wire.submit("people:v1", "people.csv", key="k")
        await wire.until(answer.document["id"])
        newest = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
    age(state, 31 * DAY)
    async with serve(home, keep=None) as wire:
        assert (await wire.submit("people:v1", "people.csv", key="k")).status == 200
    async with serve(home) as wire:
        await until_empty(state)
        gone = await wire.ask("GET", "/v1/changes", params={"after": start})
        assert (gone.status, gone.kind) == (400, "invalid-cursor")
        assert "start again" in gone.document["detail"]
        present = await wire.ask("GET", "/v1/changes", params={"after": newest})
        assert present.document == {"items": [], "next_cursor": newest}
        assert (await wire.ask("GET", "/v1/changes")).document["next_cursor"] == newest
        again = await wire.submit("people:v1", "people.csv", key="k")
        assert (again.status, again.kind) == (409, "already-processed")
        assert (await wire.get(answer.document["id"])).document["status"] == "SUCCEEDED"


async def test_a_failed_sweep_is_reported_and_not_the_last(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls, again = 0, asyncio.Event()

    async def broken(*_: object) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            again.set()
        raise StoreUnavailable("OperationalError: disk I/O error")

    monkeypatch.setattr(upkeep, "RETRY", 0.01)
    monkeypatch.setattr(SqliteStore, "forget", broken)
    async with serve(home), asyncio.timeout(20):
        await again.wait()
    assert caplog.text.count("dropping old rows: OperationalError: disk I/O error; trying again") == 1


async def test_the_pause_doubles_while_something_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter([(2, "away"), (1, "away"), (1, "away"), (0, ""), (1, "away")])
    pauses = list[float]()

    async def round_() -> tuple[int, str]:
        return next(rounds)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            raise TimeoutError

    monkeypatch.setattr(anyio, "sleep", sleep)
    with pytest.raises(TimeoutError):
        await upkeep.retry_rounds(round_, "trying", Health(tmp_path), 2, 5)
    assert pauses == [4, 5, 5, 2, 4]
