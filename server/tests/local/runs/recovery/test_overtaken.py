"""A run whose output had to wait while a later one has written to the same place: which that is, and what stays."""

import errno
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.states import moved

from lume_local._runs.recovery.settle import OutputPlace, Settler, places
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun, StoredRun, StoreUnavailable
from lume_local._runs.times import ago_text
from lume_local._shared.commit import commit, note_overtaken
from lume_local._worker.targets import target_kinds
from lume_local._worker.targets.file_targets import PartsTarget
from lume_local._worker.targets.target import Step, TargetError

OUT = "s3://warehouse/out/latest.csv"
NEW = NewRun("f:v1", "a.csv", "/a.csv", {}, False, None, "print")


async def submitted(store: SqliteStore, **changes: Any) -> StoredRun:
    run, _ = await store.create(evolve(NEW, **changes))
    return run


async def ended(
    store: SqliteStore, run: StoredRun, status: str = "SUCCEEDED", **locations: str | None
) -> None:
    now, found = ago_text(0), {"mapped": None, "rejects": None, **locations}
    await moved(store, run.run_id, status, finished_at=now, target_locations=found)


@pytest.mark.parametrize("part", ["mapped", "rejects"])
async def test_a_later_run_with_output_in_the_same_place(store: SqliteStore, part: str) -> None:
    earlier = await submitted(store, source_key="/0.csv")
    run = await submitted(store)
    later = [await submitted(store, source_key=f"/{n}.csv", flow_version="g:v1") for n in range(1, 5)]
    await ended(store, earlier, mapped=OUT)
    await ended(store, later[0], mapped="s3://warehouse/out/other.csv")
    await ended(store, later[1], "FAILED", mapped=OUT)
    assert await store.overtaken_by(run, ago_text(60), OUT, of_source=False) is None
    for one in later[2:]:
        await ended(store, one, "PARTIAL_FAILED", **{part: OUT})
    found = await store.overtaken_by(run, ago_text(60), OUT, of_source=False)
    assert found is not None
    assert found.run_id == later[3].run_id
    assert await store.overtaken_by(run, ago_text(-60), OUT, of_source=False) is None, "before it committed"
    assert await store.overtaken_by(run, ago_text(60), OUT, of_source=True) is None, "of another source"
    seeded = await submitted(store, source_key=f"{NEW.source_key}#seeds:{'0' * 64}")
    await ended(store, seeded, mapped=OUT)
    assert await store.overtaken_by(run, ago_text(60), OUT, of_source=True) == await store.get(seeded.run_id)


async def test_a_batch_is_of_one_flow_and_source(store: SqliteStore) -> None:
    run = await submitted(store)
    await ended(store, await submitted(store, flow_version="ff:v2"), mapped=OUT)
    await ended(store, await submitted(store, flow_version="f:v1", source_key="/b.csv"), mapped=OUT)
    assert await store.overtaken_by(run, ago_text(60), OUT, of_source=True) is None
    await ended(store, await submitted(store, flow_version="f:v2"), mapped=OUT)
    assert await store.overtaken_by(run, ago_text(60), OUT, of_source=True) is not None


@pytest.mark.parametrize(
    ("mode", "replaces"),
    [("append", []), ("replace_batch", [OutputPlace("t", True)]), ("upsert", [OutputPlace("t", False)])],
)
def test_what_a_commit_replaces(mode: str, replaces: list[OutputPlace]) -> None:
    steps = [
        {"kind": "s3", "part": "rejects"},
        {"kind": "database", "part": "mapped", "load": {"mode": mode}},
    ]
    record = {"steps": steps, "target_locations": {"mapped": "t", "rejects": OUT}}
    assert places(record) == [OutputPlace(OUT, False), *replaces]


def file_step(folder: Path) -> Step:
    (folder / "built").write_text("older")
    return {"kind": "file", "part": "mapped", "from": str(folder / "built"), "to": str(folder / "out.csv")}


def store_step(folder: Path) -> Step:
    (folder / "built").write_text("older")
    return {"kind": "store", "part": "mapped", "from": str(folder / "built"), "url": "gs://none/of/these"}


@pytest.mark.parametrize("step_of", [file_step, store_step])
def test_what_is_there_stays(tmp_path: Path, step_of: Any) -> None:
    (tmp_path / "out.csv").write_text("newer")
    note_overtaken(tmp_path, "run_2 was later")
    with pytest.raises(TargetError, match="run_2 was later"):
        target_kinds.publish({"steps": [step_of(tmp_path)]}, tmp_path)
    assert ((tmp_path / "out.csv").read_text(), (tmp_path / "built").exists()) == ("newer", True)


def test_a_file_that_was_in_place_before(tmp_path: Path) -> None:
    step = file_step(tmp_path)
    target_kinds.publish({"steps": [step]}, tmp_path)
    note_overtaken(tmp_path, "run_2 was later")
    target_kinds.publish({"steps": [step]}, tmp_path)
    assert (tmp_path / "out.csv").read_text() == "older"


def test_parts_stay_out_of_the_folder(tmp_path: Path) -> None:
    names = {}
    for letter in "ab":
        names[letter] = f"part-00000-run_{letter * 32}.parquet"
        (tmp_path / f"{letter}.parquet").write_bytes(b"rows")
        (tmp_path / f"{letter}.json").write_text(f'{{"parts": [{{"file": "{names[letter]}"}}]}}')
    older, newer = [
        {
            "kind": "parts",
            "folder": str(tmp_path / "out"),
            "manifest": str(tmp_path / f"{letter}.json"),
            "files": [[str(tmp_path / f"{letter}.parquet"), names[letter]]],
        }
        for letter in "ab"
    ]
    PartsTarget.publish(newer)
    with pytest.raises(TargetError, match="later"):
        PartsTarget.publish(older | {"overtaken": "run_2 was later"})
    PartsTarget.publish(newer | {"overtaken": "what is there is its own"})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_manifest.json", names["b"]]


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), OSError(errno.ENOSPC, "no room")])
async def test_a_state_that_can_not_be_asked_is_waited_for(
    store: SqliteStore, tmp_path: Path, error: Exception
) -> None:
    """A run that has committed is neither carried out unseen nor ended."""

    class Broken:
        async def overtaken_by(self, *_: object, **__: object) -> None:
            raise error

    class Paths:
        def folder(self, run_id: str) -> Path:
            return tmp_path / run_id

    run = await submitted(store)
    (tmp_path / run.run_id).mkdir()
    record = {"steps": [file_step(tmp_path)], "target_locations": {"mapped": str(tmp_path / "out.csv")}}
    commit(tmp_path / run.run_id, record)
    broken: Any = Broken()
    paths: Any = Paths()
    unused: Any = None
    trouble = await Settler(broken, unused, paths, unused).end_committed(run, record)
    assert trouble.startswith("the server's state can't be used")
    assert not (tmp_path / "out.csv").exists()
