"""A copy of a state that moves to another data folder: what is changed in it, and what is not."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lume_local._runs.sqlite.copies import (
    CopyError,
    StateCounts,
    copied,
    copied_values,
    copy_state,
    move,
    move_values,
)
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.audit import RESTORE, Act
from lume_local._runs.store.records import NewRun, RunFilter
from lume_local._runs.times import now_text
from lume_local._shared.identity import SourceContent
from lume_local._worker.targets import earlier_values

OLD, NEW = Path("/srv/old.d"), Path("/srv/new \\1")
ACT = Act("user ann", RESTORE, str(NEW))
HASH = "0" * 64
MOVED = {
    "/srv/old.d/uploads/a.csv": f"{NEW}/uploads/a.csv",
    f"/srv/old.d/uploads/a.csv#{HASH}": f"{NEW}/uploads/a.csv#{HASH}",
    "/in/b.csv\n/srv/old.d/c.csv": f"/in/b.csv\n{NEW}/c.csv",
    # Other places stay, however similar their names are.
    "/srv/old.d-2/uploads/a.csv": None,
    "/srv/oldxd/uploads/a.csv": None,
    "/in/srv/old.d/uploads/a.csv": None,
    "s3://bucket/srv/old.d/a.csv": None,
    "2026-11-28": None,
}


async def a_copy(path: Path, *keys: str, digest: str | None = None) -> Path:
    """Of a state with runs that have failed, so that they need attention."""
    store = SqliteStore(path)
    for key in keys:
        run, _ = await store.create(NewRun("f:v1", key, key, None, False, None, ""))
        locations = {"mapped": key.partition("#")[0], "rejects": None}
        read = SourceContent(1, "seen", digest)
        await store.update(run, "FAILED", finished_at=now_text(), target_locations=locations, read=read)
    store.close()
    copy_state(path, path.with_name("copy"))
    return path.with_name("copy")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("form-1", StateCounts(1, 3, 0, 0)),
        ("form-2-of-90e5a3b", StateCounts(2, 5, 1, 1)),
        ("form-2", StateCounts(2, 8, 1, 1)),
    ],
)
async def test_a_copy_of_an_earlier_form_moves_and_is_migrated_by_the_server(
    name: str, counts: StateCounts, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "state")) as db:
        db.executescript((Path(__file__).parent / f"states/{name}.sql").read_text())
        query = "SELECT source_key FROM runs WHERE source_path = 'good.csv' AND status = 'SUCCEEDED'"
        key = db.execute(query).fetchone()[0]
    assert copied(tmp_path / "state", tmp_path / "copy") == counts
    move(tmp_path / "copy", Path(key).parent, NEW, ACT)
    store = SqliteStore(tmp_path / "copy")
    found = await store.runs(RunFilter(statuses=["SUCCEEDED"]), None, 10)
    assert f"{NEW}/{Path(key).name}" in [run.source_key for run in found]
    store.close()


def rows(copy: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(copy)) as db:
        return [row[0] for row in db.execute(query)]


async def test_places_below_the_data_folder_move(tmp_path: Path) -> None:
    copy = await a_copy(tmp_path / "state", *MOVED)
    move(copy, OLD, NEW, ACT)
    wanted = [moved or key for key, moved in MOVED.items()]
    assert rows(copy, "SELECT source_key FROM runs ORDER BY seq") == wanted
    assert rows(copy, "SELECT source_key FROM attention ORDER BY seq") == wanted
    assert rows(copy, "SELECT source_path FROM runs ORDER BY seq") == [*MOVED]
    locations = "SELECT json_extract(target_locations, '$.mapped') FROM runs ORDER BY seq"
    # A location is one path: what follows in another line is part of its name.
    assert rows(copy, locations)[0] == f"{NEW}/uploads/a.csv"
    assert rows(copy, locations)[2:] == [*MOVED][2:]


@pytest.mark.parametrize(("digest", "left"), [(None, 1), (HASH, 2)])
async def test_a_content_that_only_its_path_identifies_is_unknown(
    tmp_path: Path, digest: str | None, left: int
) -> None:
    copy = await a_copy(tmp_path / "state", f"{OLD}/uploads/a", "/in/b", digest=digest)
    move(copy, OLD, NEW, ACT)
    assert len(rows(copy, "SELECT run_id FROM sources")) == left


async def test_numbers_that_clients_may_have_seen_are_not_used_again(tmp_path: Path) -> None:
    copy = await a_copy(tmp_path / "state", "/in/a")
    before = max(rows(copy, "SELECT seq FROM changes"))
    move(copy, OLD, NEW, ACT)
    store = SqliteStore(copy)
    await store.create(NewRun("f:v1", "b", "/in/b", None, False, None, ""))
    assert (await store.newest()).seq > int(before) + 10**9
    store.close()


async def test_one_place_for_two_sources_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    store = SqliteStore(path)
    for key in (f"{OLD}/uploads/a", f"{NEW}/uploads/a"):
        await store.create(NewRun("f:v1", key, key, None, False, None, ""))
    store.close()
    with pytest.raises(CopyError, match="restore it to another folder"):
        move(path, OLD, NEW, ACT)
    assert rows(path, "SELECT source_key FROM runs ORDER BY seq") == [f"{OLD}/uploads/a", f"{NEW}/uploads/a"]


async def test_values_move_without_those_of_runs_that_have_no_output_in_the_state(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state")
    done, _ = await store.create(NewRun("f:v1", "a", f"{OLD}/uploads/a", None, False, None, ""))
    await store.update(done, "SUCCEEDED", finished_at=now_text())
    waiting, _ = await store.create(NewRun("f:v1", "b", "/in/b", None, False, None, ""))
    store.close()
    (tmp_path / "values").mkdir()
    with closing(sqlite3.connect(tmp_path / "values/f.sqlite")) as db, db:
        db.executescript(earlier_values._SCHEMA)
        runs = [(1, done.run_id, f"{OLD}/uploads/a"), (2, waiting.run_id, "/in/b"), (3, "later", "/in/c")]
        db.executemany("INSERT INTO runs VALUES (?, ?, ?)", runs)
        db.executemany("INSERT INTO digests VALUES (?, ?)", [(b"1", 1), (b"2", 2), (b"3", 3)])
    (copy,) = copied_values(tmp_path / "values", tmp_path / "copied")
    move_values(copy, tmp_path / "state", OLD, NEW)
    assert rows(copy, "SELECT source FROM runs") == [f"{NEW}/uploads/a"]
    assert rows(copy, "SELECT digest FROM digests") == [b"1"]
    copy.write_bytes(b"damaged")
    with pytest.raises(CopyError, match=r"f\.sqlite is damaged"):
        move_values(copy, tmp_path / "state", OLD, NEW)
