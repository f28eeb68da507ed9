"""The rule against processing a source twice, also under attack from several processes at once."""

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from lume_local._runs.store import Duplicate, KeyReused, NewRun, Store, StoreError

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
        expected = "run-in-progress"
    elif status in ("SUCCEEDED", "PARTIAL_FAILED") and not force:
        expected = "already-processed"
    else:
        second, is_new = store.create(evolve(NEW, force_rerun=force))
        assert is_new
        assert second.run_id != first.run_id
        return
    with pytest.raises(Duplicate) as caught:
        store.create(evolve(NEW, force_rerun=force))
    assert (caught.value.kind, caught.value.run_id) == (expected, first.run_id)


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
    assert store.require(run.run_id) == run
    assert store.store_id == identity
    assert [one.run_id for one in store.unfinished()] == [run.run_id]
    store.close()


def test_files_that_are_no_state_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"this is not a database, it is a sentence of some length" * 20)
    with pytest.raises(StoreError, match="move it away"):
        Store(tmp_path / "junk")
    other = sqlite3.connect(tmp_path / "other")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreError, match="another version"):
        Store(tmp_path / "other")


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
