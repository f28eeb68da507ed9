"""Runs of a server from and into an object store: which objects it may touch, and what kills leave."""

import os
import signal
from pathlib import Path

import anyio
import pytest
from attrs import evolve
from local.processes import gone, workers
from local.servers import process, serve
from moto_server import Bucket
from store_servers import Place

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._runs.sources.paths import PathRefused, Roots, below_root, stored
from lume_local._runs.sources.source_files import SourceSpec

FLOW = """
flow = "clean"
version = "v1"
[target]
mapped = "s3://warehouse/out/{source_path}/{run_id}.csv"
rejects = "s3://warehouse/out/{source_path}/{run_id}.rejects.csv"
[columns.id]
type = "integer"
"""
ROOTS = ["s3://warehouse/in", "s3://warehouse/out"]


def prepare(folder: Path, bucket: Bucket) -> None:
    (folder / "flows").mkdir()
    (folder / "flows/clean.v1.toml").write_text(FLOW)
    bucket.put("in/a.csv", b"id\n1\nx\n")


@pytest.mark.thorough
async def test_a_run_over_the_wire(tmp_path: Path, bucket: Bucket) -> None:
    prepare(tmp_path, bucket)
    async with serve(tmp_path, roots=ROOTS) as wire:
        run = await wire.run("clean:v1", "s3://warehouse/in/a.csv")
        assert run["status"] == "PARTIAL_FAILED", run
        mapped = f"out/a.csv/{run['id']}.csv"
        assert run["metadata"]["target_locations"]["mapped"] == f"s3://warehouse/{mapped}"
        assert bucket.get(mapped) == b"id\n1\n"
        again = await wire.submit("clean:v1", "s3://warehouse/in/a.csv")
        assert again.kind == "already-processed"
        outside = await wire.submit("clean:v1", "s3://warehouse/secret.csv")
        assert outside.kind == "source-not-allowed"
        page = (await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document
        assert page == {"items": [{"id": 1}], "next_cursor": None}
        (reject,) = (await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")).document["items"]
        assert reject["id"] == "x"
        missing = await wire.run("clean:v1", "s3://warehouse/in/none.csv")
        assert "there is no object s3://warehouse/in/none.csv" in missing["metadata"]["error_message"]


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
async def test_rows_of_objects(tmp_path: Path, bucket: Bucket, suffix: str) -> None:
    """Page by page, until somebody changes or removes the object."""
    prepare(tmp_path, bucket)
    flow = FLOW.replace("{run_id}.csv", "{run_id}." + suffix)
    (tmp_path / "flows/clean.v1.toml").write_text(flow)
    bucket.put("in/a.csv", b"id\n1\n2\n3\nx\n")
    async with serve(tmp_path, roots=ROOTS) as wire:
        run = await wire.run("clean:v1", "s3://warehouse/in/a.csv")
        place = f"/v1/runs/{run['id']}/mapped"
        first = (await wire.ask("GET", f"{place}?limit=2")).document
        assert first["items"] == [{"id": 1}, {"id": 2}]
        following = f"{place}?limit=2&cursor={first['next_cursor']}"
        assert (await wire.ask("GET", following)).document == {"items": [{"id": 3}], "next_cursor": None}
        key = f"out/a.csv/{run['id']}.{suffix}"
        bucket.put(key, bucket.get(key) + b"\n")
        assert (await wire.ask("GET", following)).kind == "output-changed"
        bucket.remove(key)
        assert (await wire.ask("GET", place)).kind == "output-gone"


@pytest.mark.thorough
async def test_objects_stay_where_old_files_go(tmp_path: Path, bucket: Bucket) -> None:
    prepare(tmp_path, bucket)
    rejects = "s3://warehouse/out/{source_path}/{run_id}.rejects.csv"
    (tmp_path / "flows/clean.v1.toml").write_text(FLOW.replace(rejects, "{data}/rejects.csv"))
    async with serve(tmp_path, roots=ROOTS) as wire:
        run = await wire.run("clean:v1", "s3://warehouse/in/a.csv")
    async with serve(tmp_path, roots=ROOTS, keep_output=1e-3) as wire:
        with anyio.fail_after(20):
            while (await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")).status != 410:
                await anyio.sleep(0.02)
        assert not (tmp_path / ".lume/rejects.csv").exists()
        page = (await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document
        assert page["items"] == [{"id": 1}]


@pytest.mark.parametrize(
    ("uri", "object"),
    [
        ("s3://warehouse/in/*.csv", ("s3://warehouse/in", "*.csv")),
        ("s3://warehouse/in/{source_path}/**/x-?.csv", ("s3://warehouse/in/[1]", "**/x-?.csv")),
        ("s3://warehouse/in/*/{source_path}.csv", ("s3://warehouse/in", "*/[[]1].csv")),
        ("s3://warehouse/*/a.csv", None),
        ("s3://warehouse/in*/a.csv", None),
        ("s3://warehouse/in/../*.csv", None),
        ("s3://warehouse/in//*.csv", None),
        ("s3://warehouse/in/*/", None),
        ("s3://ware*/in/a.csv", None),
        ("s3://*", None),
        ("gs://warehouse/in/*", None),
    ],
)
def test_where_a_server_may_look(tmp_path: Path, uri: str, object: tuple[str, str] | None) -> None:
    roots = Roots.of((tmp_path,), tmp_path, ("s3://warehouse/in",))
    wanted = SourceSpec((uri,), "[1]")
    if object is None:
        with pytest.raises(PathRefused):
            wanted.objects(roots)
    else:
        assert wanted.objects(roots) == [dict(zip(("url", "pattern"), object, strict=True))]
        assert wanted.key(roots) == uri.replace("{source_path}", "[1]")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("s3://warehouse/in/a.csv", True),
        ("s3://warehouse/in/a b/%2e%2e/ü.csv", True),
        ("s3://warehouse/in", False),
        ("s3://warehouse/in/", False),
        ("s3://warehouse/inner/a.csv", False),
        ("s3://warehouse/in/../x.csv", False),
        ("s3://warehouse/in//x.csv", False),
        ("s3://warehouse/in/./x.csv", False),
        ("s3://other/in/a.csv", False),
        ("gs://warehouse/in/a.csv", False),
        ("s3://Warehouse/in/a.csv", False),
        ("s3://warehouse/in/a\n.csv", False),
    ],
)
def test_which_objects_a_server_may_touch(tmp_path: Path, url: str, allowed: bool) -> None:
    roots = Roots.of((tmp_path,), tmp_path, ("s3://warehouse/in",))
    if allowed:
        assert stored(roots, url, "source") == url
        assert below_root(roots, url) == url.removeprefix("s3://warehouse/in/")
    else:
        with pytest.raises(PathRefused):
            stored(roots, url, "source")
    with pytest.raises(PathRefused, match="none; start it with"):
        stored(evolve(roots, stores=()), "s3://warehouse/in/a.csv", "target")


def test_urls_and_paths_are_not_mixed(tmp_path: Path) -> None:
    roots = Roots.of((tmp_path,), tmp_path, ("s3://warehouse",))
    with pytest.raises(PathRefused, match="is of another kind than other parts of the source"):
        SourceSpec(("s3://warehouse/a.csv", "b.csv"), "x").key(roots)


async def test_a_root_that_is_no_bucket(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"roots: 's3://\.\./x' is not the URL of an object"):
        async with lume_local.serve(None, tmp_path / ".lume", ["s3://../x"]):
            pass


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("target", "whom"),
    [("azurite", "worker"), ("moto", "server"), ("s3", "server")],
    indirect=["target"],
)
async def test_a_kill_in_the_middle_of_a_publication(tmp_path: Path, target: Place, whom: str) -> None:
    """Nothing half is seen, and the next process sends it again."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/clean.v1.toml").write_text(FLOW.replace("s3://warehouse", target.url))
    rows = "".join(f"{n}\n" for n in range(3_000_000))
    target.put("in/large.csv", b"id\nx\n" + rows.encode())
    options = {"roots": [target.url]}
    async with process(tmp_path, **options) as (server, wire):
        run_id = (await wire.submit("clean:v1", f"{target.url}/in/large.csv")).document["id"]
        rejects, mapped = f"out/in/large.csv/{run_id}.rejects.csv", f"out/in/large.csv/{run_id}.csv"
        with anyio.fail_after(50):
            while rejects not in target.names():  # published first: the rows are on their way
                await anyio.sleep(0.001)
        pids = workers(server.pid)
        if whom == "server":
            server.kill()
            await server.wait()
            assert await gone(pids)
        else:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        if mapped in target.names():
            assert target.get(mapped) == b"id\n" + rows.encode(), "it was too late, or done again already"
    async with process(tmp_path, **options) as (_, wire):
        run = await wire.until(run_id)
        assert run["status"] == "PARTIAL_FAILED", run
        assert target.get(mapped) == b"id\n" + rows.encode()
        assert sorted(key for key in target.names() if key.startswith("out/")) == sorted([mapped, rejects])
