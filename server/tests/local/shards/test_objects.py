"""Objects of a store over shards: each byte comes once, by one request for each shard."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.flows import people
from local.one_run import carried_out, fetch, job_of
from moto_server import Bucket

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.shards import shards as cut

ROWS = b'id,name\n1,"Ann\n""A"""\nx,Bo\n' + b"".join(b'%d,"Cy, %d"\n' % (n, n) for n in range(200))


def run(folder: Path, keys: list[str], shards: int, **flow: Any) -> tuple[dict[str, Any], list[Any], bytes]:
    work = folder / str(shards)
    (work / "run").mkdir(parents=True)
    columns = {"id": {"type": "integer", "unique": True}, "name": {}}
    with connect() as connection:
        compiled = compile_flow(connection, read_definition(people(columns=columns, **flow)))
        job = job_of(compiled, work / "run", [], work / "mapped.csv", work / "rejects.csv")
        objects = [{"url": f"s3://warehouse/{key}", "pattern": ""} for key in keys]
        engine = {"url": "here", "shard_bytes": 1, "shards": shards} if shards else None
        job = evolve(job, source={"kind": "store", "objects": objects}, engine=engine)
        record = carried_out(connection, job)
    rejects = work / "rejects.csv"
    written = rejects.read_bytes() if rejects.exists() else b""
    return record["metrics"], fetch(f"{work}/mapped.csv"), written


@pytest.mark.thorough
@pytest.mark.parametrize("keys", [["a.csv"], ["a.csv", "b.csv"]])
def test_the_same_as_one_worker_by_one_request_for_each_shard(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    for key in keys:
        bucket.put(key, ROWS)
    asked: list[tuple[int, int]] = []
    fetch_range = cut.fetch_range

    def noted(single: Any, start: int, end: int, path: Path) -> Path:
        if start:  # else it looks for the header
            asked.append((start, end))
        return fetch_range(single, start, end, path)

    monkeypatch.setattr(cut, "fetch_range", noted)
    metrics, mapped, rejects = run(tmp_path, keys, 6)
    shards = metrics.pop("shards")
    assert shards == {"engine": "here", "count": 6, "whole": {}}
    assert len(asked) == shards["count"]
    assert sum(end - start for start, end in asked) == len(keys) * (len(ROWS) - len(b"id,name\n"))
    assert run(tmp_path, keys, 0) == (metrics, mapped, rejects)


def test_an_object_that_changes_meanwhile_fails_the_run(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a.csv", ROWS)
    fetch_range = cut.fetch_range

    def written_to(single: Any, start: int, end: int, path: Path) -> Path:
        bucket.put("a.csv", ROWS.replace(b"Ann", b"Eve"))
        return fetch_range(single, start, end, path)

    monkeypatch.setattr(cut, "fetch_range", written_to)
    with pytest.raises(RunFailed, match="was changed while it was read"):
        run(tmp_path, ["a.csv"], 3)


@pytest.mark.parametrize("shards", [1, 5])
def test_objects_of_several_layouts(tmp_path: Path, bucket: Bucket, shards: int) -> None:
    """Each is recognised where it is read: the coordinator has no part of it."""
    bucket.put("b.csv", "Nr;Name\n300;Öz\ny;Bo\n".encode("cp1252"))
    bucket.put("a.csv", ROWS)
    bucket.put("c.csv.gz", gzip.compress(b"id,name\n400,Di\n"))
    layouts = {
        "shop": {"columns": {"id": '"id"', "name": '"name"'}},
        "bank": {
            "source": {"csv": {"delim": ";", "encoding": "cp1252"}},
            "columns": {"id": '"Nr"', "name": '"Name"'},
        },
    }
    keys = ["b.csv", "a.csv", "c.csv.gz"]
    metrics, mapped, rejects = run(tmp_path, keys, shards, layouts=layouts)
    metrics.pop("shards")
    assert run(tmp_path, keys, 0, layouts=layouts) == (metrics, mapped, rejects)
    assert [mapped[0], mapped[-1], len(mapped)] == [(300, "Öz"), (400, "Di"), 202]
    found = {name: (one["files"], one["rows_read"]) for name, one in metrics["source"]["layouts"].items()}
    assert found == {"bank": (1, 2), "shop": (2, 203)}
    assert b",bank,,,y,Bo" in rejects or b",bank,y,Bo" in rejects


def test_an_object_of_no_layout_is_named(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("a.csv", b"no,text\n1,x\n")
    layouts = {
        "shop": {"columns": {"id": '"id"', "name": '"name"'}},
        "bank": {"columns": {"id": '"Nr"', "name": '"Name"'}},
    }
    with pytest.raises(RunFailed, match=r"s3://warehouse/a\.csv has none of the layouts of people:v1"):
        run(tmp_path, ["a.csv"], 3, layouts=layouts)
