"""A run that a person submits of a file whose run has failed: its outcome counts, and the file is moved."""

import asyncio
import os
from pathlib import Path

import pytest
from attrs import evolve
from local.arrivals.site import Site, arrival_of
from local.states import moved
from on_posix import posix_only

from lume_local._runs.sources.source_files import with_seeds
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.records import NewRun, Purged, StoredRun

END, LATE = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"


def new_run(
    version: str = "v1", seen: str = "", content: str = "", path: str = "in/a.csv", key: str = ""
) -> NewRun:
    """By an arrival if it names a content, else by a person; `key` is the end of its source's key."""
    arrived = Arrived("acme", path, seen, content.encode(), move=True) if content else None
    return NewRun(f"orders:{version}", path, f"/{path}{key}", None, False, None, "x", arrived=arrived)


async def ended(store: SqlStore, new: NewRun, status: str) -> StoredRun:
    run, _ = await store.create(new)
    return await moved(store, run.run_id, status, finished_at=END)


async def listed(store: SqlStore) -> list[tuple[str, str]]:
    return [(run.run_id, run.status) for run in await store.newest_arrived(["acme"], 10)]


async def purged(store: SqlStore) -> Purged:
    found, _ = await store.purge.old(LATE, ("", 0), 100, outputs=False)
    return await store.purge.remove(found, LATE, outputs=False, detail={})


@pytest.mark.parametrize("lost", ["FAILED", "CRASHED", "CANCELLED"])
async def test_the_next_run_takes_the_file_over(store: SqlStore, lost: str) -> None:
    """With the same version of the flow or a corrected one; until then it stays in the list, whatever is purged."""
    first = await ended(store, new_run(seen="s", content="x"), lost)
    (move,) = await store.arrivals.moves("acme")
    await store.arrivals.moved(move, is_gone=False)
    assert await store.arrivals.moves("acme") == [], "it stays where it is"
    await ended(store, new_run(path="other.csv"), "SUCCEEDED")
    assert await purged(store) == Purged(0, 1)
    assert await listed(store) == [(first.run_id, lost)]
    again, _ = await store.create(new_run("v2"))
    assert again.arrival == "acme"
    assert await listed(store) == [(again.run_id, "CREATED")]
    assert await store.arrivals.moves("acme") == []
    done = await moved(store, again.run_id, "SUCCEEDED")
    assert done.arrival == "acme"
    (move,) = await store.arrivals.moves("acme")
    assert (move.path, move.seen, move.is_due) == ("in/a.csv", "s", True)
    assert await store.arrivals.moves("acme", again.run_id) == [move]
    await store.arrivals.moved(move, is_gone=True)
    assert await store.arrivals.moves("acme") == []
    assert await purged(store) == Purged(1, 0), "nothing needs the first one any more"
    assert await store.get(first.run_id) is None
    assert await listed(store) == [(again.run_id, "SUCCEEDED")]


async def test_a_file_that_can_not_be_moved_yet_is_moved_after_a_purge(store: SqlStore) -> None:
    await ended(store, new_run(seen="s", content="x"), "SUCCEEDED")
    await ended(store, evolve(new_run(), force_rerun=True), "SUCCEEDED")
    (move,) = await store.arrivals.moves("acme")
    assert await purged(store) == Purged(0, 1)
    assert await store.arrivals.moves("acme") == [move]
    await store.arrivals.moved(move, is_gone=True)
    assert await purged(store) == Purged(1, 0)


async def test_new_content_and_a_second_attempt_take_it_over_too(store: SqlStore) -> None:
    for new in (new_run(seen="s", content="x"), new_run(), new_run(seen="t", content="y"), new_run("v2")):
        last = await ended(store, new, "FAILED")
        assert await listed(store) == [(last.run_id, "FAILED")]
    (move,) = await store.arrivals.moves("acme", last.run_id)
    assert move.seen == "t"


async def test_a_run_with_a_layout_of_its_own_takes_it_over_too(store: SqlStore) -> None:
    """A person names the layout of a file, after its run has recognised none."""
    layout, other = with_seeds("", "1" * 64), with_seeds("", "2" * 64)
    await ended(store, new_run(seen="s", content="x"), "FAILED")
    run = await ended(store, new_run(key=layout), "FAILED")
    assert await listed(store) == [(run.run_id, "FAILED")]
    assert (await store.create(new_run(key=other)))[0].arrival is None, (
        "the file of a layout is another source"
    )


async def test_of_several_at_once_one_takes_it_over(store: SqlStore) -> None:
    for _ in range(5):
        await ended(store, new_run(seen="s", content="x"), "FAILED")
        new = [store.create(new_run(f"v{n}")) for n in range(1, 6)]
        runs = [run for run, _ in await asyncio.gather(*new)]
        (taker,) = [run.run_id for run in runs if run.arrival is not None]
        assert await listed(store) == [(taker, "CREATED")]
        for run in runs:
            await moved(store, run.run_id, "FAILED")


async def test_what_reads_another_source_or_comes_too_late_takes_nothing_over(store: SqlStore) -> None:
    failed = await ended(store, new_run(seen="s", content="x"), "FAILED")
    done = await ended(store, new_run(path="in/b.csv", seen="s", content="x"), "SUCCEEDED")
    before = await listed(store)
    assert before == [(done.run_id, "SUCCEEDED"), (failed.run_id, "FAILED")]
    other = NewRun("people:v1", "in/a.csv", "/in/a.csv", None, False, None, "x")
    forced = NewRun("orders:v1", "in/b.csv", "/in/b.csv", None, True, None, "x")
    for new in (other, forced):
        assert (await store.create(new))[0].arrival is None
    assert await listed(store) == before


@posix_only
async def test_the_file_is_moved(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    site = Site(tmp_path, arrival_of(after='{ move = "done/" }'))
    await site.open()
    try:
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        await site.compare()
        await site.after(10.0)
        (run,) = await site.runs()
        for status in ("CRASHED", "FAILED", "SUCCEEDED"):
            await site.restart()  # nothing is only remembered
            await site.end(run, status)
            await site.after(0)
            await site.compare()
            assert (tmp_path / "in/a.csv").exists() is (status != "SUCCEEDED")
            if status != "SUCCEEDED":
                again = NewRun(run.flow_version, run.source_path, run.source_key, None, False, None, "x")
                run, _ = await site.store.create(again)
        assert (tmp_path / "in/done/a.csv").read_text() == "no\n1\n"
    finally:
        await site.close()


@posix_only
@pytest.mark.parametrize("when", ["before it ends", "after it was moved"])
async def test_the_same_content_once_more_belongs_to_the_rerun(tmp_path: Path, when: str) -> None:
    """Touched as long as the rerun is active, or delivered again later: it is moved, for it was loaded."""
    file = tmp_path / "in/a.csv"
    file.parent.mkdir()
    site = Site(tmp_path, arrival_of(after='{ move = "done/" }'))
    await site.open()

    async def delivered(time: int) -> None:
        file.write_text("no\n1\n")
        os.utime(file, (time, time))
        await site.compare()
        await site.after(10.0)
        await site.after(0)

    try:
        await delivered(1_000_000_000)
        (run,) = await site.runs()
        await site.end(run, "FAILED")
        await site.after(0)
        again, _ = await site.store.create(
            NewRun(run.flow_version, run.source_path, run.source_key, None, False, None, "x")
        )
        if when == "before it ends":
            await delivered(1_100_000_000)
        await site.end(again)
        await site.after(0)
        if when == "after it was moved":
            assert not file.exists()
            await delivered(1_100_000_000)
        assert not file.exists()
        assert len(await site.runs()) == 2
    finally:
        await site.close()
