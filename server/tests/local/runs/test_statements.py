"""How many statements the state executes for what happens most often: a poll, and the steps of a run."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.servers import serve
from local.states import moved

from lume_local._runs.health import Health
from lume_local._runs.postgres.postgres_sql import PostgresSql
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_sql import SqliteSql
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.records import FollowUp, NewRun
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

    for kind, names in (
        (SqliteSql, ("rows", "row", "one", "change", "changed")),
        (PostgresSql, ("rows", "row", "change", "changed")),  # `one` calls `row`
    ):
        for name in names:
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


async def test_a_poll_is_two_statements(home: Path, each_state: str, statements: Statements) -> None:
    async with serve(home) as wire:
        run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
        assert (await wire.until(run_id))["status"] == "SUCCEEDED"
        statements.clear()
        answer = await wire.ask("GET", f"/v1/runs/{run_id}")
        assert len([query for query, values in statements if run_id in values]) == 2
        statements.clear()
        again = await wire.ask("GET", f"/v1/runs/{run_id}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
        assert len([query for query, values in statements if run_id in values]) == 1


async def test_a_step_reads_a_run_only_once(store: SqlStore, statements: Statements, tmp_path: Path) -> None:
    recorder = RunRecorder(store, Hub(), Health(tmp_path), lambda: None, lambda run: None)
    run, _ = await store.create(NEW)
    statements.clear()
    for stage, reads in (("SYNCING_SOURCE", 1), ("TRANSFORMING", 0), ("SYNCING_TARGET", 0)):
        await recorder.enter(run.run_id, stage, None)
        kinds = [query.split()[0] for query, _ in statements]
        assert kinds == ["SELECT"] * reads + ["UPDATE", "INSERT"]
        statements.clear()


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
