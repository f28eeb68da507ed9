"""A folder of parts as a target: one or many, with a manifest that comes last."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.flows import people
from local.one_run import carried_out, fetch, job_of
from local.wire import Wire

import lume_local
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._runs.recovery import old_files
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import file_targets, target_kinds
from lume_local._worker.targets.file_targets import PartsTarget

A, B = f"run_{'a' * 32}", f"run_{'b' * 32}"
COLUMNS: dict[str, Any] = {"id": {"type": "integer", "unique": True}, "name": {}}
ROWS = "id,name\n" + "".join(f"{n},Ann {n}\n" for n in range(50)) + "7,again\n"


def run(
    folder: Path, run_id: str, content: str = ROWS, shards: int = 0, dry_run: bool = False, **flow: Any
) -> dict[str, Any]:
    """A run whose mapped rows go to `out`."""
    work = folder / run_id
    work.mkdir()
    source = folder / f"{run_id}.csv"
    source.write_text(content)
    engine = {"url": "here", "shard_bytes": 1, "shards": shards} if shards else None
    with connect() as connection:
        compiled = compile_flow(connection, read_definition(people(columns=COLUMNS, **flow)))
        job = job_of(compiled, work, [source], folder / "-", folder / "rejects.csv")
        mapped = {
            "kind": "parts",
            "path": str(folder / "out"),
            "columns": [["id", "BIGINT"], ["name", "VARCHAR"]],
        }
        job = evolve(job, run_id=run_id, mapped=mapped, engine=engine, dry_run=dry_run)
        return carried_out(connection, job)


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out/_manifest.json").read_text())
    return found


def rows(folder: Path) -> list[tuple[Any, ...]]:
    return [row for part in manifest(folder)["parts"] for row in fetch(f"{folder}/out/{part['file']}")]


@pytest.mark.parametrize("shards", [0, 4])
def test_the_manifest_names_all_parts_and_counts_their_rows(tmp_path: Path, shards: int) -> None:
    record = run(tmp_path, A, shards=shards)
    assert record["target_locations"]["mapped"] == f"{tmp_path}/out/_manifest.json"
    found = manifest(tmp_path)
    assert (found["run_id"], found["rows"], len(found["parts"])) == (A, 50, shards or 1)
    assert found["columns"] == [{"name": "id", "type": "BIGINT"}, {"name": "name", "type": "VARCHAR"}]
    assert rows(tmp_path) == [(n, f"Ann {n}") for n in range(50)]
    for part in found["parts"]:
        path = tmp_path / "out" / part["file"]
        assert (part["bytes"], part["rows"]) == (path.stat().st_size, len(fetch(str(path))))
    assert set(os.listdir(tmp_path / "out")) == {"_manifest.json", *(part["file"] for part in found["parts"])}


@pytest.mark.parametrize("shards", [0, 4])
def test_a_dry_run_gives_one_file_to_look_at(tmp_path: Path, shards: int) -> None:
    record = run(tmp_path, A, shards=shards, dry_run=True)
    assert fetch(record["built"]["mapped"]) == [(n, f"Ann {n}") for n in range(50)]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shards", [0, 4])
def test_a_failed_run_leaves_nothing(tmp_path: Path, shards: int) -> None:
    with pytest.raises(RunFailed, match="max_ratio"):
        run(tmp_path, A, shards=shards, rejects={"max_ratio": 0.0})
    assert not (tmp_path / "out").exists()


def prepared(folder: Path, run_id: str, count: int) -> dict[str, Any]:
    """A step of a run with so many parts, not yet carried out."""
    built = folder / run_id
    built.mkdir()
    with connect() as connection:
        for n in range(count):
            connection.execute(f"COPY (SELECT {n} AS n) TO '{built}/{n:06}.parquet'")
    place = {"kind": "parts", "path": str(folder / "out"), "columns": [["n", "INTEGER"]]}
    return PartsTarget("mapped", place, run_id).prepare(built, lambda step: None)


def test_the_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    theirs = {
        "part-00000-5a1f2e5c-7b0e-4b7e-9a51-0d6f2c9c1d11-c000.snappy.parquet",
        "part-00000-mine.parquet",
    }
    for name in theirs:
        (tmp_path / "out" / name).write_text("")
    PartsTarget.publish(prepared(tmp_path, A, 2))
    PartsTarget.publish(prepared(tmp_path, B, 1))
    assert set(os.listdir(tmp_path / "out")) - theirs == {"_manifest.json", f"part-00000-{B}.parquet"}
    assert theirs < set(os.listdir(tmp_path / "out"))


@pytest.mark.parametrize("content", ["{}", "[]", "", '{"parts": null}', '{"parts": ["x"]}', None])
def test_the_manifest_of_somebody_else_is_no_target(tmp_path: Path, content: str | None) -> None:
    other = tmp_path / "out/_manifest.json"
    other.parent.mkdir()
    if content is None:
        other.mkdir()
    else:
        other.write_text(content)
    with pytest.raises(RunFailed, match=r"out/_manifest\.json is not a manifest of parts"):
        run(tmp_path, A)
    assert os.listdir(tmp_path / "out") == ["_manifest.json"]


class Killed(BaseException):
    pass


def killed_at(call: int, do: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, but the call of that number ends the process."""
    calls = iter(range(1000))

    def instead(*args: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return do(*args, **options)

    return instead


@pytest.mark.parametrize("call", range(5))
def test_killed_anywhere_it_is_carried_out_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    PartsTarget.publish(prepared(tmp_path, A, 2))
    step = prepared(tmp_path, B, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_at(call, os.replace))
        patch.setattr(file_targets, "_remove", killed_at(call - 4, file_targets._remove))
        with pytest.raises(Killed):
            PartsTarget.publish(step)
        # Before the manifest there are the rows of the run before, all of them.
        assert manifest(tmp_path)["run_id"] == (A if call < 4 else B)
        assert {part["file"] for part in manifest(tmp_path)["parts"]} <= set(os.listdir(tmp_path / "out"))
    PartsTarget.publish(step)
    PartsTarget.publish(step)
    assert manifest(tmp_path)["run_id"] == B
    assert rows(tmp_path) == [(0,), (1,), (2,)]
    assert len(os.listdir(tmp_path / "out")) == 4


@pytest.mark.parametrize("call", range(1, 5))
def test_killed_and_overtaken_it_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    step = prepared(tmp_path, A, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_at(call, os.replace))
        patch.setattr(file_targets, "_remove", killed_at(call - 4, file_targets._remove))
        with pytest.raises(Killed):
            PartsTarget.publish(step)
    PartsTarget.publish(prepared(tmp_path, B, 1))
    PartsTarget.publish(step)
    assert manifest(tmp_path)["run_id"] == B
    assert rows(tmp_path) == [(0,)]
    assert sorted(os.listdir(tmp_path / "out")) == ["_manifest.json", f"part-00000-{B}.parquet"]


def test_parts_on_another_file_system_are_copied_first_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(file_targets, "_is_elsewhere", lambda file, folder: True)
    built = tmp_path / "a"
    built.mkdir()
    with connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS n) TO '{built}/000000.parquet'")
    place = {"kind": "parts", "path": str(tmp_path / "out"), "columns": [["n", "INTEGER"]]}
    target = PartsTarget("mapped", place, A)
    step = target.prepare(built, noted.append)
    assert all(name.startswith(".") for name in os.listdir(tmp_path / "out"))
    target_kinds.KINDS[noted[0]["kind"]].abandon(noted[0])
    assert os.listdir(tmp_path / "out") == []
    step = target.prepare(built, noted.append)
    PartsTarget.publish(step)
    assert sorted(os.listdir(tmp_path / "out")) == ["_manifest.json", f"part-00000-{A}.parquet"]


def test_no_parts_in_a_store_and_no_folder_of_rejects() -> None:
    for target, words in (
        ({"mapped": "s3://bucket/out/"}, "parts go to a folder of this machine"),
        ({"rejects": "out/"}, "must end with"),
    ):
        with pytest.raises(FlowError, match=words):
            read_definition(people(target=target))


async def test_through_a_server(server: lume_local.Server, wire: Wire, home: Path) -> None:
    definition = people(columns=COLUMNS, target={"mapped": "out/"}) | {"flow": "parted"}
    await wire.ask("PUT", "/v1/flows/parted/versions/v1", json=definition)
    (home / "many.csv").write_text(ROWS)
    run = await wire.run("parted:v1", "many.csv")
    assert run["metadata"]["target_locations"]["mapped"] == f"{home}/out/_manifest.json"
    answer = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")
    assert (answer.status, answer.kind) == (422, "not-supported")
    assert "DuckDB, polars or Spark" in answer.document["detail"]


def test_what_is_removed_as_old_is_all_of_it(tmp_path: Path) -> None:
    record = run(tmp_path, A, shards=3)
    (identity,) = (step["identity"] for step in record["steps"] if step["part"] == "mapped")
    assert old_files._remove(tmp_path / "out/_manifest.json", identity, A)
    assert os.listdir(tmp_path / "out") == []
