"""How many statements the state executes for what happens most often: a poll, and the steps of a run."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.servers import serve
from local.states import moved

from lume_local._http import run_operations
from lume_local._runs.health import Health
from lume_local._runs.postgres.postgres_sql import PostgresSql
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_sql import SqliteSql
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.records import Cursor, CursorForgotten, FollowUp, NewRun
from lume_local._runs.waiters import Hub

NEW = NewRun("f:v1", "a.csv", "/a.csv", {}, False, None, "", note="a note")
END = "2026-01-01T00:00:00.000000Z"
Statements = list[tuple[str, list[Any]]]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Each statement with its values."""
    found = Statements()

    def noted(real: Any) -> Any:
        def method(sql: Any, query: str, values: Any = ()) -> Any:
            found.append((query, list(values)))
            return real(sql, query, values)

        return method

    for kind in (SqliteSql, PostgresSql):
        for name in ("rows", "change", "changed"):  # the others call `rows`
            monkeypatch.setattr(kind, name, noted(getattr(kind, name)))
    return found


async def test_notes_and_follow_ups_are_one_statement(store: SqlStore, statements: Statements) -> None:
    parent, _ = await store.create(NEW)
    await moved(store, parent.run_id, "FAILED", finished_at=END)
    mending = evolve(NEW, run_metadata={"resubmit_of": parent.run_id}, note=None, force_rerun=True)
    mends = []
    for n in range(3):
        run, _ = await store.create(evolve(mending, source_key=f"/{n}"))
        mends.append(run.run_id)
    await store.attention.dismiss(parent.run_id, "known", "ann")
    statements.clear()
    beside = await store.attention.of(parent.run_id)
    assert len(statements) == 1
    assert beside.dismissed is not None
    assert beside.dismissed["at"] > END
    dismissed = {"why": "known", "at": beside.dismissed["at"]}
    assert beside == FollowUp(("a note",), None, tuple(reversed(mends)), dismissed)
    assert await store.attention.of(mends[0]) == FollowUp(mends=parent.run_id)
    assert await store.attention.of("run_none") == FollowUp()


async def test_a_poll_is_one_statement(home: Path, statements: Statements) -> None:
    async with serve(home) as wire:
        run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
        assert (await wire.until(run_id))["status"] == "SUCCEEDED"

        async def polled(count: int, **headers: str) -> Any:
            statements.clear()
            answer = await wire.ask("GET", f"/v1/runs/{run_id}", headers=headers)
            assert len([query for query, values in statements if run_id in values]) == count
            return answer

        tag = (await polled(1)).headers["ETag"]
        assert (await polled(1, **{"If-None-Match": tag})).status == 304
        await wire.ask("POST", f"/v1/runs/{run_id}/dismiss", json={"why": "known"})
        assert (await polled(2)).document["metadata"]["dismissed"]["why"] == "known"


async def test_a_run_is_plain_until_something_is_beside_it(store: SqlStore) -> None:
    async def is_plain(run_id: str) -> bool:
        found = (await store.require(run_id)).is_plain
        assert found is (await store.attention.of(run_id) == FollowUp())
        return found

    noted, _ = await store.create(NEW)
    assert not await is_plain(noted.run_id)
    parent, _ = await store.create(evolve(NEW, source_key="/b", note=None))
    assert not parent.is_plain  # unknown
    await moved(store, parent.run_id, "FAILED", finished_at=END)
    assert await is_plain(parent.run_id)
    mending = {"resubmit_of": parent.run_id}
    child, _ = await store.create(evolve(NEW, source_key="/c", note=None, run_metadata=mending))
    assert not await is_plain(parent.run_id)
    assert not await is_plain(child.run_id)
    other, _ = await store.create(evolve(NEW, source_key="/d", note=None))
    await moved(store, other.run_id, "FAILED", finished_at=END)
    await store.attention.dismiss(other.run_id, "known", "ann")
    assert not await is_plain(other.run_id)


async def test_an_empty_poll_of_the_changes_reads_the_state_only_after_a_write(
    tmp_path: Path, statements: Statements
) -> None:
    with closing(SqliteStore(tmp_path / "state.db")) as store:

        async def reads(after: Cursor) -> tuple[int, list[str], Cursor]:
            statements.clear()
            found, following = await store.changes(after, 10)
            return len(statements), [change.status for change in found], following

        start = await store.newest()
        assert await reads(start) == (0, [], start)
        run, _ = await store.create(NEW)
        count, found, end = await reads(start)
        assert (count, found) == (2, ["CREATED"])
        assert await reads(end) == (0, [], end)

        async def fails() -> None:  # with changes that nobody may ever see
            await store.feed.note(run.run_id, "FAILED", END)
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011 - it has no message
            await store.sql.write(fails)
        assert await reads(end) == (1, [], end)
        await moved(store, run.run_id, "FAILED", finished_at=END)
        count, found, newest = await reads(end)
        assert (count, found) == (2, ["FAILED"])
        assert await store.forget("9999", 10) == 2
        with pytest.raises(CursorForgotten):
            await store.changes(end, 10)
        assert (await reads(newest))[1:] == ([], newest)
        assert await store.newest() == newest


async def test_a_step_reads_a_run_only_if_nobody_has(
    store: SqlStore, statements: Statements, tmp_path: Path
) -> None:
    recorder = RunRecorder(store, Hub(), Health(tmp_path), lambda: None, lambda run: None)
    for reads in (1, 0):
        run, _ = await store.create(evolve(NEW, source_key=f"/{reads}"))
        if not reads:
            recorder.claimed(run)
        for stage in ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"):
            statements.clear()
            await recorder.enter(run.run_id, stage, None)
            kinds = [query.split()[0] for query, _ in statements]
            assert kinds == ["SELECT"] * reads + ["UPDATE", "INSERT"]
            reads = 0


async def test_a_submission_asks_once_whether_it_takes_over_an_arrived_file(
    store: SqlStore, statements: Statements
) -> None:
    await store.create(NEW)
    assert not [query for query, _ in statements if "arriv" in query and "UPDATE" in query]
    first = evolve(NEW, source_key="/b", arrived=Arrived("in", "b", "seen", b"content", move=True))
    failed, _ = await store.create(first)
    assert failed.arrival == "in"
    await moved(store, failed.run_id, "FAILED", finished_at=END)
    by_hand, _ = await store.create(evolve(NEW, source_key="/b"))
    assert (by_hand.arrival, (await store.require(failed.run_id)).arrival) == ("in", None)


async def test_a_run_that_a_lane_has_taken_is_not_read_again(
    home: Path, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_operations, "TOGETHER", 60.0)
    monkeypatch.setattr(run_operations, "YOUNG", 60.0)
    async with serve(home, max_active=1) as wire:
        run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
        assert (await wire.get(run_id, wait=60)).document["status"] == "SUCCEEDED"
        reads = [query for query, values in statements if " FROM runs WHERE run_id = ?" in query]
        assert len(reads) == 1, "by the request, which then hears of each change"
