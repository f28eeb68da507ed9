"""The rule against processing a source twice, also under attack from several processes at once."""

import asyncio
import errno
import multiprocessing
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from lume_local._runs import durability
from lume_local._runs.state_file import StoreError
from lume_local._runs.store import Duplicate, KeyReused, NewRun, Store

NEW = NewRun("f:v1", "a.csv", "/a.csv", {"n": 1}, False, None, "print")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "runs.sqlite")
    yield store
    store.close()


ENDED = ("SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("status", ["CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET", *ENDED])
def test_who_may_follow_whom(store: Store, status: str, force: bool) -> None:
    first, _ = store.create(NEW)
    store.update(first.run_id, status)
    if status not in ENDED:
        is_active = True
    elif status in ("SUCCEEDED", "PARTIAL_FAILED") and not force:
        is_active = False
    else:
        second, is_new = store.create(evolve(NEW, force_rerun=force))
        assert is_new
        assert second.run_id != first.run_id
        return
    with pytest.raises(Duplicate) as caught:
        store.create(evolve(NEW, force_rerun=force))
    assert (caught.value.is_active, caught.value.run_id) == (is_active, first.run_id)


def test_a_forced_success_counts_as_processed(store: Store) -> None:
    forced, _ = store.create(evolve(NEW, force_rerun=True))
    store.update(forced.run_id, "SUCCEEDED")
    with pytest.raises(Duplicate):
        store.create(NEW)
    again, _ = store.create(evolve(NEW, force_rerun=True))
    store.update(again.run_id, "SUCCEEDED")


def test_other_flow_versions_and_sources_do_not_matter(store: Store) -> None:
    store.create(NEW)
    store.create(evolve(NEW, flow_version="f:v2"))
    store.create(evolve(NEW, source_key="/b.csv"))


@pytest.mark.parametrize("status", ENDED)
def test_a_key_gives_its_run_again_whatever_became_of_it(store: Store, status: str) -> None:
    keyed = evolve(NEW, idempotency_key="k", force_rerun=True)
    first, is_new = store.create(keyed)
    assert is_new
    store.update(first.run_id, status)
    again, is_new = store.create(keyed)
    assert (again.run_id, again.status, is_new) == (first.run_id, status, False)
    with pytest.raises(KeyReused):
        store.create(evolve(keyed, fingerprint="other"))


def test_a_refused_request_does_not_use_up_its_key(store: Store) -> None:
    first, _ = store.create(NEW)
    keyed = evolve(NEW, idempotency_key="k")
    with pytest.raises(Duplicate):
        store.create(keyed)
    store.update(first.run_id, "FAILED")
    _, is_new = store.create(keyed)
    assert is_new


def test_the_indexes_hold_where_the_query_does_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = store.create(NEW)
    monkeypatch.setattr(store, "_refuse_duplicate", lambda new: None)
    with pytest.raises(sqlite3.IntegrityError):
        store.create(NEW)
    store.update(first.run_id, "SUCCEEDED")
    second, _ = store.create(NEW)
    with pytest.raises(sqlite3.IntegrityError):
        store.update(second.run_id, "SUCCEEDED")


def test_every_update_is_a_change_with_a_new_revision(store: Store) -> None:
    start = store.last_change()
    run, _ = store.create(NEW)
    assert run.rev == 1
    moved = store.update(run.run_id, "TRANSFORMING", stages=[{"name": "x"}])
    assert (moved.rev, moved.status, moved.stages) == (2, "TRANSFORMING", [{"name": "x"}])
    assert moved.run_metadata == {"n": 1}
    ended = store.update(run.run_id, "FAILED", finished_at="now", error_message="no")
    assert (ended.rev, ended.error_message) == (3, "no")
    changes = store.changes(start, 10)
    assert [change.status for change in changes] == ["CREATED", "TRANSFORMING", "FAILED"]
    assert [change.finished_at for change in changes] == [None, None, "now"]
    assert store.changes(changes[1].seq, 10) == changes[2:]


def test_what_was_stored_is_there_after_opening_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    run, _ = store.create(evolve(NEW, idempotency_key="k"))
    identity = store.store_id
    store.close()
    store = Store(tmp_path / "s")
    assert evolve(store.require(run.run_id), rev=1) == run
    assert store.store_id == identity
    assert [one.run_id for one in store.unfinished()] == [run.run_id]
    store.close()


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"this is not a database, it is a sentence of some length" * 20)
    with pytest.raises(StoreError, match=r"can't be used .*: there is no copy of it: move .* away"):
        Store(tmp_path / "junk")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreError, match="another version"):
        Store(tmp_path / "other")


def test_state_that_was_emptied_or_lost_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    state, log, copy = (tmp_path / name for name in ("s", "s-wal", "s.backup"))
    Store(state).close()
    whole = state.read_bytes()
    for content, words in (
        (b"", "is empty"),
        (bytes(len(whole)), "can't be used"),
        (whole[:4096] + bytes(len(whole) - 4096), "malformed|is damaged"),
        (whole[:-4096], "malformed|is damaged"),
    ):
        state.write_bytes(content)
        with pytest.raises(StoreError, match=words):
            Store(state)
        assert state.read_bytes() == content, "it is left as it was found"
    state.unlink()
    log.write_bytes(b"x")
    with pytest.raises(StoreError, match="is missing, but s-wal is there"):
        Store(state)
    state.write_bytes(whole)
    with pytest.raises(StoreError, match="has a damaged log, s-wal"):
        Store(state)
    log.unlink()
    state.unlink()
    copy.write_bytes(whole)
    with pytest.raises(StoreError, match=r"is missing, but s.backup is there: put its copy in place \(cp "):
        Store(state)
    shutil.copy(copy, state)
    Store(state).close()


def test_state_that_was_begun_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "s.draft").write_bytes(b"half")
    Store(tmp_path / "s").close()
    assert not (tmp_path / "s.draft").exists()


async def test_what_a_power_cut_takes_was_never_relied_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    run, _ = store.create(NEW)
    await store.settled()
    survives = [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    seen = store.update(run.run_id, "TRANSFORMING")
    cursor = store.last_change()
    store.close()
    (tmp_path / "after").mkdir()
    for name, content in survives:
        (tmp_path / "after" / name).write_bytes(content)
    store = Store(tmp_path / "after/s")
    found = store.require(run.run_id)
    assert found.status == "CREATED"
    assert found.rev > seen.rev, "a revision that was seen means no other content"
    store.update(run.run_id, "FAILED", finished_at="now")
    assert [change.status for change in store.changes(cursor, 10)] == ["FAILED"], "no client misses it"
    store.close()


async def test_one_fsync_for_all_that_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = durability._sync
    monkeypatch.setattr(durability, "_sync", lambda file: syncs.append(file) or real(file))
    for number in range(50):
        store.create(evolve(NEW, source_key=f"/{number}"))
    await asyncio.gather(*(store.settled() for _ in range(50)))
    assert len(syncs) == 1
    run, _ = store.create(NEW)
    await store.settled()
    for stage in ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"):
        store.update(run.run_id, stage)
        await store.settled()
    assert len(syncs) == 2, "stages wait for no disk"
    store.update(run.run_id, "SUCCEEDED")
    await store.settled()
    assert len(syncs) == 3


async def test_the_log_is_emptied_into_the_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durability, "CHECKPOINT_EVERY", 5)
    for number in range(200):
        store.create(evolve(NEW, source_key=f"/{number}"))
        await store.settled()
    assert (tmp_path / "runs.sqlite-wal").stat().st_size < 40 * 4096 * 5
    assert (tmp_path / "runs.sqlite").stat().st_size > 100_000


async def test_a_disk_that_fails_is_not_taken_for_durable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "no")

    store.create(NEW)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no"):
        patch.setattr(durability, "_sync", broken)
        await store.settled()
    await store.settled()


def _contend(path: str, sources: int, wins: "multiprocessing.Queue[list[str]]") -> None:
    store = Store(Path(path))
    won = []
    for number in range(sources):
        try:
            run, _ = store.create(evolve(NEW, source_key=f"/{number}"))
        except Duplicate:
            continue
        won.append(run.source_key)
    store.close()
    wins.put(won)


def test_four_processes_contend_for_the_same_sources(tmp_path: Path) -> None:
    Store(tmp_path / "s").close()
    context = multiprocessing.get_context("spawn")
    wins: multiprocessing.Queue[list[str]] = context.Queue()
    processes = [context.Process(target=_contend, args=(str(tmp_path / "s"), 100, wins)) for _ in range(4)]
    for process in processes:
        process.start()
    won = [source for _ in processes for source in wins.get(timeout=30)]
    for process in processes:
        process.join()
        process.close()
    wins.close()
    wins.join_thread()
    assert sorted(won) == sorted(f"/{number}" for number in range(100))
