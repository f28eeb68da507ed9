"""Files that are swapped for symbolic links once the server has looked at their paths: nothing outside is touched."""

import contextlib
import gzip
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local.servers import serve
from local.wire import Wire

from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.store.records import StoredRun
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import Execute, Propose

SECRET = "id,Email,Age\n9,secret@example.org,9\n"
LINK = "became a symbolic link after the server had checked the path"

SEEDED = """
flow = "seeded"
version = "v1"
[seeds.rates]
path = "in/rates.csv"
key = "id"
[columns.id]
type = "integer"
[columns.rate]
sql = "seed('rates', id, 'rate')"
"""
TO_TARGETS = """
flow = "targets"
version = "v1"
[target]
mapped = "{mapped}"
rejects = "out/{{run_id}}.rejects.csv"
[columns.id]
type = "integer"
"""


def outside(home: Path) -> Path:
    """Files that no run may read or write."""
    folder = home.parent / f"{home.name}-outside"
    folder.mkdir()
    for name in ("people.csv", "rates.csv"):
        (folder / name).write_text(SECRET.replace("Age", "rate") if name == "rates.csv" else SECRET)
    (folder / "people.csv.gz").write_bytes(gzip.compress(SECRET.encode()))
    return folder


@pytest.fixture
def inside(home: Path) -> Path:
    folder = home / "in"
    folder.mkdir()
    (folder / "people.csv").write_text((home / "people.csv").read_text())
    (folder / "people.csv.gz").write_bytes(gzip.compress((home / "people.csv").read_bytes()))
    (folder / "rates.csv").write_text("id,rate\n1,1.5\n")
    return folder


def swap(path: Path, to: Path) -> None:
    """Put a link in its place, as somebody does who may write there."""
    os.rename(path, path.with_name(f"{path.name}.was"))
    path.symlink_to(to)


@contextmanager
def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> Iterator[None]:
    """Exactly between the look at the paths of a run and its worker, something happens."""
    job = RunPaths.job

    async def and_then(paths: RunPaths, run: StoredRun, *args: Any) -> Execute:
        found = await job(paths, run, *args)
        act()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(RunPaths, "job", and_then)
        yield


async def test_a_source(home: Path, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = outside(home)
    async with serve(home) as wire:
        for dry_run in (False, True):
            for source, part in (
                ("people.csv", "in/people.csv"),
                ("people.csv", "in"),
                ("people.csv.gz", "in/people.csv.gz"),
            ):
                to = secret if part == "in" else secret / source
                with between(monkeypatch, lambda: swap(home / part, to)):  # noqa: B023
                    run = await ended(wire, "people:v1", f"in/{source}", dry_run=dry_run)
                assert run["status"] == "FAILED"
                assert LINK in run["metadata"]["error_message"]
                assert str(home / "in") in run["metadata"]["error_message"]
                assert "secret" not in str(run).replace(str(home), "")
                # With the link still there the server follows it, and says where it leads.
                again = await wire.submit("people:v1", f"in/{source}")
                assert "outside of the folders" in again.document["detail"]
                (home / part).unlink()
                (home / part).with_name(f"{Path(part).name}.was").rename(home / part)


async def ended(wire: Wire, flow: str, source: str, **fields: Any) -> dict[str, Any]:
    answer = await wire.submit(flow, source, **fields)
    assert answer.status in (200, 201), answer.document
    run: dict[str, Any] = answer.document
    return run if fields.get("dry_run") else await wire.until(run["id"])


async def test_an_upload_and_the_folder_of_the_uploads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, uploads = outside(home), home / ".lume/uploads"
    async with serve(home) as wire:
        for name in ("people.csv", "second.csv"):
            sent = await wire.ask("PUT", f"/v1/uploads/{name}", data=(home / "people.csv").read_bytes())
            assert sent.status in (200, 201)
        with between(monkeypatch, lambda: swap(uploads / "people.csv", secret / "people.csv")):
            run = await ended(wire, "people:v1", "upload://people.csv")
        assert (run["status"], LINK in run["metadata"]["error_message"]) == ("FAILED", True)
        before = sorted(os.listdir(secret))
        swap(uploads, secret)
        sent = await wire.ask("PUT", "/v1/uploads/third.csv", data=b"id\n1\n")
        assert sent.status >= 500
        assert sorted(os.listdir(secret)) == before


async def test_a_seed(home: Path, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = outside(home)
    (home / "flows/seeded.v1.toml").write_text(SEEDED)
    async with serve(home) as wire:
        with between(monkeypatch, lambda: swap(inside / "rates.csv", secret / "rates.csv")):
            run = await ended(wire, "seeded:v1", "people.csv")
    assert (run["status"], LINK in run["metadata"]["error_message"]) == ("FAILED", True)


@pytest.mark.parametrize(
    ("mapped", "there"),
    [("out/{{run_id}}.parquet", True), ("out/deep/er/{{run_id}}.csv", False), ("out/parts/", True)],
)
async def test_a_folder_of_a_target(
    home: Path, monkeypatch: pytest.MonkeyPatch, mapped: str, there: bool
) -> None:
    """Also one that is only made by the run."""
    secret = outside(home)
    before = sorted(os.listdir(secret))
    (home / "flows/targets.v1.toml").write_text(TO_TARGETS.format(mapped=mapped.format()))
    if there:
        (home / "out").mkdir()
    (home / "mixed.csv").write_text("id\n1\nx\n")

    def put_link() -> None:
        if there:
            (home / "out").rmdir()
        (home / "out").symlink_to(secret)

    async with serve(home) as wire:
        with between(monkeypatch, put_link):
            run = await ended(wire, "targets:v1", "mixed.csv")
        assert run["status"] == "FAILED"
        assert f"{home}/out became a symbolic link" in run["metadata"]["error_message"]
        assert sorted(os.listdir(secret)) == before
        os.unlink(home / "out")
        assert (await wire.run("targets:v1", "mixed.csv"))["status"] == "PARTIAL_FAILED"


@pytest.mark.parametrize("part", ["file", "folder"])
async def test_what_a_run_has_written(home: Path, part: str) -> None:
    """Whoever swaps it for a link to a file of the same size and time gets nothing of that."""
    secret = outside(home)
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
        place = Path(run["metadata"]["target_locations"]["mapped"])
        seen = place.stat()
        hidden = secret / place.name
        hidden.write_bytes(b"S" * seen.st_size)
        os.utime(hidden, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
        swap(place if part == "file" else place.parent, hidden if part == "file" else secret)
        for rows in ("mapped?limit=1", "outputs/mapped"):
            answer = await wire.ask("GET", f"/v1/runs/{run['id']}/{rows}")
            assert answer.status in (404, 409, 410), (rows, answer.status)
            assert "SSS" not in str(answer.document)


async def test_an_output_in_a_root_that_was_moved(home: Path) -> None:
    """An operator's link that stays within the roots is followed."""
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
    place = Path(run["metadata"]["target_locations"]["mapped"])
    os.rename(place.parent, home / "moved")
    place.parent.symlink_to(home / "moved")
    async with serve(home) as wire:
        for rows in ("mapped?limit=1", "outputs/mapped"):
            async with wire.session.get(f"/v1/runs/{run['id']}/{rows}") as answer:
                assert answer.status == 200, rows


async def test_flow_files(home: Path) -> None:
    secret, flows = outside(home), home / "flows"
    (secret / "keys.toml").write_text('flow = "leaked"\nversion = "v1"\nhidden-key = 1\n')
    (flows / "..data").mkdir()
    (flows / "..data/mounted.v1.toml").write_text(SEEDED.replace("seeded", "mounted"))
    (home / "in").mkdir()
    (home / "in/rates.csv").write_text("id,rate\n1,1.5\n")
    async with serve(home) as wire:
        (flows / "mounted.v1.toml").symlink_to("..data/mounted.v1.toml")
        assert (await wire.run("mounted:v1", "people.csv"))["status"] == "SUCCEEDED"
        (flows / "leaked.v1.toml").symlink_to(secret / "keys.toml")
        refused = (await wire.submit("leaked:v1", "people.csv")).document
        assert "it is a symbolic link out of its folder: copy the file there" in refused["detail"]
        assert "hidden-key" not in str(refused)
        (flows / "leaked.v1.toml").unlink()
        swap(flows, secret)
        refused = (await wire.submit("leaked:v1", "people.csv")).document
        assert "hidden-key" not in str(refused)


def swapping(path: Path, other: Path, stopped: threading.Event) -> None:
    """Swap a file for a link and back, as fast as that goes."""
    link, kept = path.with_name("link"), path.with_name("kept")
    while not stopped.is_set():
        with contextlib.suppress(FileExistsError):
            link.symlink_to(other)
        os.rename(path, kept)
        os.rename(link, path)
        os.rename(kept, path)


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_a_file_that_is_swapped_all_the_time(home: Path, inside: Path) -> None:
    """Thousands of times in each round, of a run and a dry run: they read the file or fail."""
    key, path = home / ".lume/state/key.csv", inside / "people.csv"
    stopped = threading.Event()
    async with serve(home) as wire:
        key.write_text(SECRET)
        thread = threading.Thread(target=swapping, args=(path, key, stopped))
        thread.start()
        try:
            for _ in range(15):
                dry = await wire.submit("people:v1", "in/people.csv", dry_run=True)
                assert "secret@" not in str(dry.document)
                answer = await wire.submit("people:v1", "in/people.csv", force_rerun=True)
                if answer.status != 201:
                    assert "the server's own state or keys" in answer.document["detail"]
                    continue
                run = await wire.until(answer.document["id"])
                assert "secret@" not in str(run)
                if run["status"] == "SUCCEEDED":
                    rows = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")
                    assert {row["id"] for row in rows.document["items"]} == {1, 2, 3}
        finally:
            stopped.set()
            thread.join()


def test_a_link_that_the_server_knows_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x.csv").write_text("id\n1\n")
    (tmp_path / "link").symlink_to("real")
    assert Roots.of((tmp_path,), tmp_path / "data").source("link/x.csv") == tmp_path / "real/x.csv"


PATTERN = """
flow = "patterns"
version = "v1"
[source]
uri = "{source_path}/*.csv"
[columns.id]
type = "integer"
"""


@pytest.mark.parametrize(
    ("flow", "sample", "part"), [("people", "in/people.csv.gz", "in"), ("patterns", "in", "in/people.csv")]
)
async def test_a_sample_of_a_proposal(
    home: Path, inside: Path, monkeypatch: pytest.MonkeyPatch, flow: str, sample: str, part: str
) -> None:
    secret = outside(home)
    (home / "flows/patterns.v1.toml").write_text(PATTERN)
    propose = WorkerPool.propose

    async def swapped(pool: WorkerPool, job: Propose) -> Any:
        swap(home / part, secret if part == "in" else secret / "people.csv")
        return await propose(pool, job)

    async with serve(home) as wire:
        with monkeypatch.context() as patch:
            patch.setattr(WorkerPool, "propose", swapped)
            answer = await wire.ask("POST", f"/v1/flows/{flow}/proposals", json={"samples": [sample]})
        assert (answer.status, answer.document["field"]) == (422, "samples")
        assert LINK in answer.document["detail"]
        assert "secret" not in str(answer.document).replace(str(home), "")


async def test_the_dry_run_of_a_proposal(home: Path, inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = outside(home)
    body = {"samples": ["in/people.csv"], "dry_run": True, "inline_lookups": True}
    async with serve(home) as wire:
        with between(monkeypatch, lambda: swap(home / "in", secret)):
            answer = await wire.ask("POST", "/v1/flows/people/proposals", json=body)
    run = answer.document["dry_run"]
    assert (run["status"], LINK in run["metadata"]["error_message"]) == ("FAILED", True)
    assert "secret" not in str(answer.document).replace(str(home), "")
