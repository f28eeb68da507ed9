"""The audit: an entry for each act, in its transaction, that nobody changes."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.audit import ACTS, CANCEL, PURGE, REGISTER, Act, ActFilter
from lume_local._runs.store.records import NewRun, StoredFlow, StoreFailed
from lume_local._runs.times import ago_text

DAY = 86400.0
ALL = ActFilter()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "runs.sqlite")
    yield store
    store.close()


def old(store: SqliteStore, days: float, subject: str) -> None:
    """An entry of that age."""
    store._db.execute(
        "INSERT INTO audit (at, by, what, subject, detail) VALUES (?, 'ann', 'cancel', ?, '{}')",
        [ago_text(days * DAY), subject],
    )


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET by = 'bob'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 2",
        "INSERT OR REPLACE INTO audit VALUES (1, 'x', 'bob', 'cancel', 'x', '{}')",
        "REPLACE INTO audit (seq, at, by, what, subject, detail) VALUES (2, 'x', 'bob', 'cancel', 'x', '{}')",
    ],
)
async def test_an_entry_can_not_be_changed(store: SqliteStore, change: str) -> None:
    for subject in ("run_1", "run_2"):
        await store.audit.note(Act("ann", CANCEL, subject))
    before = await store.audit.acts(ALL, None, 10)
    with pytest.raises(sqlite3.DatabaseError, match="audit"):
        store._db.execute(change)
    assert await store.audit.acts(ALL, None, 10) == before


async def test_only_the_oldest_entries_are_removed_and_no_young_one(store: SqliteStore) -> None:
    for number, days in enumerate((300, 200, 89, 150)):  # a clock was set back
        old(store, days, f"run_{number}")
    with pytest.raises(sqlite3.DatabaseError, match="only its oldest"):
        store._db.execute("DELETE FROM audit WHERE seq = 2")
    assert await store.audit.forget(ago_text(0), 1) == 1
    assert await store.audit.forget(ago_text(0), 10) == 1, "whatever was asked for: the next one is too young"
    assert await store.audit.forget(ago_text(0), 10) == 0
    assert [noted.act.subject for noted in await store.audit.acts(ALL, None, 10)] == ["run_3", "run_2"]


async def test_an_act_that_can_not_be_noted_is_not_done(store: SqliteStore) -> None:
    run, _ = await store.create(NewRun("f:v1", "a", "/a", None, False, None, ""))
    store._db.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'full'); END")
    with pytest.raises(StoreFailed):
        await store.update(run, "CANCELLED", act=Act("ann", CANCEL, run.run_id))
    with pytest.raises(StoreFailed):
        await store.create(NewRun("f:v1", "b", "/b", None, True, None, ""))
    with pytest.raises(StoreFailed):
        await store.attention.dismiss(run.run_id, "known", "ann")
    with pytest.raises(StoreFailed):
        await store.put_flow(StoredFlow("f:v1", "", {}, {}, "", ""), Act("ann", REGISTER, "f:v1"))
    assert await store.require(run.run_id) == run
    assert [one.run_id for one in await store.unfinished()] == [run.run_id]
    assert await store.flows() == []


async def test_pages_by_key_and_by_act_hold_each_entry_once(store: SqliteStore) -> None:
    wanted = []
    for number in range(60):
        act = Act(
            ("ann", "bob", "server")[number % 3], ACTS[number % len(ACTS)], f"run_{number}", {"n": number}
        )
        await store.audit.note(act)
        wanted.append(act)
    for by in (None, "ann", "bob", "nobody"):
        for what in (None, CANCEL, PURGE):
            found, before = list[Act](), None
            while page := await store.audit.acts(ActFilter(by, what, ago_text(60)), before, 7):
                found += [noted.act for noted in page]
                before = page[-1].seq
            assert found == [
                act for act in reversed(wanted) if by in (None, act.by) and what in (None, act.what)
            ]
    assert await store.audit.acts(ActFilter(since=ago_text(-60)), None, 10) == []


async def test_texts_in_an_entry_are_bounded(store: SqliteStore) -> None:
    await store.audit.note(Act("ann", CANCEL, "run_1", {"why": "x" * 10_000}))
    (noted,) = await store.audit.acts(ALL, None, 10)
    assert len(noted.act.detail["why"]) <= 500
