"""The rule against processing a source twice, also under attack from several processes at once."""

import asyncio
import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.states import moved

from lume_local._runs.sql.operation import Row
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.sqlite import migrations, sqlite_sql, state_file
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.arrived import Arrived, KnownPath, RefusedFile
from lume_local._runs.store.records import (
    VARIABLE,
    Duplicate,
    KeyReused,
    MessageState,
    NewDelivery,
    NewRun,
    StoreError,
    StoreFailed,
)

NEW = NewRun("f:v1", "a.csv", "/a.csv", {"n": 1}, False, None, "print")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteStore]:
    """A state file."""
    store = SqliteStore(tmp_path / "runs.sqlite")
    yield store
    store.close()


ENDED = ("SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED")


async def test_who_may_follow_whom(store: SqlStore) -> None:
    active = ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")
    for status, force in product((*active, *ENDED), (False, True)):
        new = evolve(NEW, source_key=f"/{status}-{force}.csv")
        first, _ = await store.create(new)
        await moved(store, first.run_id, status)
        again = evolve(new, force_rerun=force)
        if status in active or (status in ("SUCCEEDED", "PARTIAL_FAILED") and not force):
            with pytest.raises(Duplicate) as caught:
                await store.create(again)
            assert (caught.value.is_active, caught.value.run_id) == (status in active, first.run_id), status
        else:
            second, is_new = await store.create(again)
            assert is_new, (status, force)
            assert second.run_id != first.run_id


async def test_a_forced_success_counts_as_processed(store: SqlStore) -> None:
    forced, _ = await store.create(evolve(NEW, force_rerun=True))
    await moved(store, forced.run_id, "SUCCEEDED")
    with pytest.raises(Duplicate):
        await store.create(NEW)
    again, _ = await store.create(evolve(NEW, force_rerun=True))
    await moved(store, again.run_id, "SUCCEEDED")


@pytest.mark.parametrize("status", ENDED)
async def test_a_key_gives_its_run_again_whatever_became_of_it(store: SqlStore, status: str) -> None:
    keyed = evolve(NEW, idempotency_key="k", force_rerun=True)
    first, is_new = await store.create(keyed)
    assert is_new
    await moved(store, first.run_id, status)
    again, is_new = await store.create(keyed)
    assert (again.run_id, again.status, is_new) == (first.run_id, status, False)
    with pytest.raises(KeyReused):
        await store.create(evolve(keyed, fingerprint="other"))


async def test_a_refused_request_does_not_use_up_its_key(store: SqlStore) -> None:
    first, _ = await store.create(NEW)
    keyed = evolve(NEW, idempotency_key="k")
    with pytest.raises(Duplicate):
        await store.create(keyed)
    await moved(store, first.run_id, "FAILED")
    _, is_new = await store.create(keyed)
    assert is_new


async def not_refused(*_: object) -> None: ...


async def test_the_indexes_hold_where_the_query_does_not(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await store.create(NEW)
    monkeypatch.setattr(SqlStore, "_refuse_duplicate", not_refused)
    with pytest.raises(StoreFailed, match=r"(?i)\bunique\b"):
        await store.create(NEW)
    await moved(store, first.run_id, "SUCCEEDED")
    second, _ = await store.create(NEW)
    with pytest.raises(StoreFailed, match=r"(?i)\bunique\b"):
        await moved(store, second.run_id, "SUCCEEDED")


async def test_every_update_is_a_change_with_a_new_revision(store: SqlStore) -> None:
    start = await store.newest()
    run, _ = await store.create(NEW)
    assert run.rev == 1
    then = await moved(store, run.run_id, "TRANSFORMING", stages=[{"name": "x"}])
    assert (then.rev, then.status, then.stages) == (2, "TRANSFORMING", [{"name": "x"}])
    assert then.run_metadata == {"n": 1}
    ended = await moved(store, run.run_id, "FAILED", finished_at="now", error_message="no")
    assert (ended.rev, ended.error_message) == (3, "no")
    changes, end = await store.changes(start, 10)
    assert end == await store.newest()
    assert [change.status for change in changes] == ["CREATED", "TRANSFORMING", "FAILED"]
    assert [change.finished_at for change in changes] == [None, None, "now"]
    some, place = await store.changes(start, 2)
    assert (some, (await store.changes(place, 10))[0]) == (changes[:2], changes[2:])
    assert await store.changes(end, 10) == ([], end)


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"this is not a database, it is a sentence of some length" * 20)
    with pytest.raises(StoreError, match=r"can't be used .*: there is no copy of it: move .* away"):
        SqliteStore(tmp_path / "junk")


def test_a_state_of_another_version_names_that_version(tmp_path: Path) -> None:
    ours = version("lume-client")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreError, match="written by another version of lume-client, in form 99"):
        SqliteStore(tmp_path / "other")
    SqliteStore(tmp_path / "later").close()
    with closing(sqlite3.connect(tmp_path / "later")) as later, later:
        assert later.execute("SELECT value FROM facts WHERE name = 'written_by'").fetchone() == (ours,)
        later.execute("UPDATE facts SET value = '7.8.9' WHERE name = 'written_by'")
        later.execute("PRAGMA user_version = 98")
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path / "later")
    assert str(caught.value) == (
        f"{tmp_path}/later was written by lume-client 7.8.9, in form 98 of the state; this is lume-client {ours}, "
        f"which uses form {VERSION}: start the version that wrote it, or use another data folder"
    )


def test_state_that_was_emptied_or_lost_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    state, log, copy = (tmp_path / name for name in ("s", "s-wal", "s.backup"))
    SqliteStore(state).close()
    whole = state.read_bytes()
    for content, words in (
        (b"", "is empty"),
        (bytes(len(whole)), "can't be used"),
        (whole[:4096] + bytes(len(whole) - 4096), "malformed|is damaged"),
        (whole[:-4096], "malformed|is damaged"),
    ):
        state.write_bytes(content)
        with pytest.raises(StoreError, match=words):
            SqliteStore(state)
        assert state.read_bytes() == content, "it is left as it was found"
    state.unlink()
    log.write_bytes(b"x")
    with pytest.raises(StoreError, match="is missing, but s-wal is there"):
        SqliteStore(state)
    state.write_bytes(whole)
    with pytest.raises(StoreError, match="has a damaged log, s-wal"):
        SqliteStore(state)
    log.unlink()
    state.unlink()
    copy.write_bytes(whole)
    with pytest.raises(StoreError, match=r"is missing, but s.backup is there: put its copy in place \(cp "):
        SqliteStore(state)
    shutil.copy(copy, state)
    SqliteStore(state).close()


def test_state_that_was_begun_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "s.draft").write_bytes(b"half")
    SqliteStore(tmp_path / "s").close()
    assert not (tmp_path / "s.draft").exists()


async def test_what_a_power_cut_takes_was_never_relied_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    run, _ = await store.create(NEW)
    await store.settled()
    survives = [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    seen = await moved(store, run.run_id, "TRANSFORMING")
    cursor = await store.newest()
    store.close()
    (tmp_path / "after").mkdir()
    for name, content in survives:
        (tmp_path / "after" / name).write_bytes(content)
    store = SqliteStore(tmp_path / "after/s")
    found = await store.require(run.run_id)
    assert found.status == "CREATED"
    assert found.rev > seen.rev, "a revision that was seen means no other content"
    await moved(store, run.run_id, "FAILED", finished_at="now")
    assert [change.status for change in (await store.changes(cursor, 10))[0]] == ["FAILED"], (
        "no client misses it"
    )
    store.close()


def test_a_new_state_is_whole_and_synced_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not sync the draft, and leaves nothing of it in a journal."""
    steps: list[tuple[str, list[str]]] = []
    for module, name in ((state_file, "sync_file"), (os, "replace"), (state_file, "sync_folder")):
        real = getattr(module, name)

        def noted(*paths: Path, name: str = name, real: Callable[..., None] = real) -> None:
            steps.append((name, sorted(path.name for path in tmp_path.iterdir())))
            if name == "sync_file":
                with closing(sqlite3.connect(*paths)) as draft:
                    assert draft.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                    assert draft.execute("SELECT 1 FROM facts WHERE name = 'store_id'").fetchone() == (1,)
                    migrations.check(draft, *paths)
            real(*paths)

        monkeypatch.setattr(module, name, noted)

    with closing(state_file.open_state(tmp_path / "s")) as db:
        assert tuple(db.execute("PRAGMA synchronous").fetchone()) == (1,), "as `Durability` expects it"

    assert steps == [("sync_file", ["s.draft"]), ("replace", ["s.draft"]), ("sync_folder", ["s"])]


async def test_one_fsync_for_all_that_wait(file: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = sqlite_sql._sync
    monkeypatch.setattr(sqlite_sql, "_sync", lambda file: syncs.append(file) or real(file))
    for number in range(50):
        await file.create(evolve(NEW, source_key=f"/{number}"))
    await asyncio.gather(*(file.settled() for _ in range(50)))
    assert len(syncs) == 1
    run, _ = await file.create(NEW)
    await file.settled()
    for stage in ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"):
        await moved(file, run.run_id, stage)
        await file.settled()
    assert len(syncs) == 2, "stages wait for no disk"
    await moved(file, run.run_id, "SUCCEEDED")
    await file.settled()
    assert len(syncs) == 3


async def test_the_log_is_emptied_into_the_file(
    file: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_sql, "CHECKPOINT_EVERY", 5)
    for number in range(200):
        await file.create(evolve(NEW, source_key=f"/{number}"))
        await file.settled()
    assert (tmp_path / "runs.sqlite-wal").stat().st_size < 40 * 4096 * 5
    assert (tmp_path / "runs.sqlite").stat().st_size > 100_000


async def test_no_commit_waits_for_the_disk(file: SqliteStore, tmp_path: Path) -> None:
    before = (tmp_path / "runs.sqlite").read_bytes()
    for number in range(200):
        await file.create(evolve(NEW, source_key=f"/{number}"))
    # By default SQLite moves a log of 1,000 pages at the end of a transaction, with two fsyncs.
    assert (tmp_path / "runs.sqlite-wal").stat().st_size > 1_500 * 4096
    assert (tmp_path / "runs.sqlite").read_bytes() == before


async def test_a_disk_that_fails_is_not_taken_for_durable(
    file: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "no")

    await file.create(NEW)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no"):
        patch.setattr(sqlite_sql, "_sync", broken)
        await file.settled()
    await file.settled()


async def test_a_message_is_decided_about_once(store: SqlStore) -> None:
    for body in (b"one", b"two"):
        await store.arrivals.refuse(RefusedFile("acme", body.decode(), "s", "why", "2026"), body)
    run, _ = await store.create(NEW)
    await moved(store, run.run_id, "FAILED", notice=b"three")
    notices = await store.messages.notices(10)
    assert [one.body for one in notices] == [b"one", b"two", b"three"]
    seqs = [one.seq for one in notices]
    state, message = MessageState("k", '{"n":1}', 5.0), NewDelivery(f"{VARIABLE}OPS", run.run_id, b"body")
    assert await store.messages.decided(seqs[:1], {"k": 0}, [state], [message])
    assert not await store.messages.decided(seqs[:1], {}, [], [message]), "its notice is gone"
    assert not await store.messages.decided(seqs[1:], {"k": 0}, [state], [message]), (
        "its state is another one"
    )
    found = await store.messages.states(["k", "none"])
    assert {key: (one.state, one.due) for key, one in found.items()} == {"k": ('{"n":1}', 5.0)}
    assert [one.key for one in await store.messages.due(5.0, 10)] == ["k"]
    assert await store.messages.next_due() == 5.0
    assert await store.messages.decided(seqs[1:], {"k": found["k"].rev}, [MessageState("k", "")], [])
    assert await store.messages.notices(10) == []
    assert await store.messages.next_due() is None
    (delivery,) = await store.deliveries.waiting(10)
    assert (delivery.kind, delivery.url) == ("message", f"{VARIABLE}OPS")
    assert await store.deliveries.waiting(10, ["webhook", "lineage"]) == []


async def test_the_last_figures_of_a_flow_are_those_of_whole_sources(store: SqlStore) -> None:
    for n, (flow, metadata) in enumerate(
        [
            ("f:v1", None),
            ("f:v2", {}),
            ("g:v1", {}),
            ("f:v1", {"resubmit_of": "run_1"}),
            ("f:v1", {"replay": {}}),
            ("f:v1", {"mend": {}}),
        ]
    ):
        new = evolve(NEW, flow_version=flow, source_key=f"/{n}", run_metadata=metadata)
        run, _ = await store.create(new)
        await moved(store, run.run_id, "SUCCEEDED", metrics={"rows_read": n + 10, "rows_rejected": n})
    assert await store.statistics.last_figures("f", 10) == [(11, 1), (10, 0)]


async def test_of_a_path_the_last_note_and_the_newest_run_count(store: SqlStore) -> None:
    """However many contents it has had."""
    old, new = (Arrived("acme", "a.csv", f"seen {n}", n.encode()) for n in ("old", "new"))
    assert await store.arrivals.known(old) is None
    earlier, _ = await store.create(evolve(NEW, arrived=old))
    assert await store.arrivals.known(old) == KnownPath(True, earlier.run_id, "CREATED")
    run, _ = await store.create(evolve(NEW, source_key="/other", arrived=new))
    page = [("a.csv", old.seen), ("a.csv", new.seen), ("other.csv", new.seen)]
    assert await store.arrivals.settled_of("acme", page) == [False, True, False]
    await store.arrivals.note(old, earlier.run_id)  # it was put back
    assert await store.arrivals.settled_of("acme", page) == [True, False, False]
    assert await store.arrivals.settled_of("other", page) == [False, False, False]
    for one, has_content, by in (
        (old, True, earlier),
        (new, True, run),
        (evolve(old, content=b"third"), False, run),
    ):
        assert await store.arrivals.known(one) == KnownPath(has_content, by.run_id, "CREATED")


async def test_a_content_that_several_tasks_note_counts_once(store: SqlStore) -> None:
    for n in range(10):
        one = Arrived("acme", "a.csv", "seen", b"%d" % n)
        await asyncio.gather(*(store.arrivals.note(one, None) for _ in range(20)))
        assert await store.arrivals.counts("acme") == (n + 1, 0)


async def test_a_page_of_files_is_looked_up_with_few_statements(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a round trip on PostgreSQL."""
    page = [(f"{n}.csv", "seen") for n in range(1000)]
    for n in range(0, 40, 2):
        await store.arrivals.note(Arrived("acme", f"{n}.csv", "seen", b"x"), None)
        await store.arrivals.refuse(RefusedFile("acme", f"{999 - n}.csv", "seen", "why", "2026"))
        await store.arrivals.refuse(RefusedFile("acme", f"{999 - n - 1}.csv", "other", "why", "2026"))
    sent, rows = [], store.sql.rows

    async def counted(query: str, values: Sequence[Any] = ()) -> list[Row]:
        sent.append(query)
        return await rows(query, values)

    monkeypatch.setattr(store.sql, "rows", counted)
    monkeypatch.setattr(store.sql, "row", None)
    found = await store.arrivals.settled_of("acme", page)
    assert [n for n, is_settled in enumerate(found) if is_settled] == [*range(0, 40, 2), *range(961, 1000, 2)]
    assert len(sent) == 4, "500 files each: what was noted, what was refused"
    assert await store.arrivals.settled_of("acme", page[:1]) == [True]
    assert len(sent) == 5, "none is left to be refused"
    assert await store.arrivals.settled_of("acme", []) == []
    assert len(sent) == 5
