"""New content under an old name: the server notices, says so, and on request takes it for a new source."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked import altered
from local.flows import PEOPLE, PEOPLE_CSV, slow_rows
from local.servers import serve
from local.wire import Answer, Wire
from moto_server import Bucket

import lume_local
from lume_async import DuplicateRunError
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._runs.sources import resolver
from lume_local._runs.sources.source_files import content_in, places_of, with_content
from lume_local._runs.workers import child
from lume_local._runs.workers.worker import Worker
from lume_local._shared.identity import SourceContent, is_open, is_other

MORE = PEOPLE_CSV + "4,di@example.org,52\n"
OTHER = PEOPLE_CSV.replace("31", "32")
"""Of the same size."""
CONTENT = PEOPLE.replace('version = "v1"', 'version = "v2"\n[source]\nidentity = "content"')


async def again(wire: Wire, ref: str = "people:v1", source: str = "people.csv") -> Answer:
    answer = await wire.submit(ref, source)
    assert answer.status == 409, answer.document
    return answer


def later(path: Path, text: str | bytes) -> None:
    """Write to a file so that its time differs, however coarse the clock of the file system is."""
    before = path.stat().st_mtime_ns
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, ns=(before + 10**9, before + 10**9))


async def test_a_409_says_whether_the_source_was_changed(wire: Wire, home: Path) -> None:
    """It is untouched, longer, as long as before, emptied, written again; at last gone, and unreadable."""
    run = await wire.run("people:v1", "people.csv")
    for text, changed in ((None, False), (MORE, True), (OTHER, True), ("", True), (PEOPLE_CSV, False)):
        if text is not None:
            later(home / "people.csv", text)
        answer = await again(wire)
        assert (answer.kind, answer.document["source_changed"]) == ("already-processed", changed)
        assert answer.document["run_id"] == run["id"]
        assert ("was changed since" in answer.document["detail"]) is changed
        assert ("identity" in answer.document["detail"]) is changed
    (home / "people.csv").unlink()
    assert (await again(wire)).document["source_changed"] is None
    (home / "people.csv").mkdir()
    assert (await again(wire)).document["source_changed"] is None
    (home / "people.csv").rmdir()
    os.mkfifo(home / "people.csv")
    assert (await again(wire)).document["source_changed"] is None


async def test_a_run_that_is_not_over_is_unknown(wire: Wire, home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    run = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    answer = await again(wire, "slow:v1", "slow.csv")
    assert (answer.kind, answer.document["source_changed"]) == ("run-in-progress", None)
    await wire.ask("POST", f"/v1/runs/{run}/cancel")


async def test_the_newest_run_counts(wire: Wire, home: Path) -> None:
    await wire.run("people:v1", "people.csv")
    later(home / "people.csv", MORE)
    run = await wire.run("people:v1", "people.csv", force_rerun=True)
    answer = await again(wire)
    assert (answer.document["run_id"], answer.document["source_changed"]) == (run["id"], False)


async def test_a_link_to_another_file(wire: Wire, home: Path) -> None:
    (home / "january.csv").write_text(PEOPLE_CSV)
    (home / "february.csv").write_text(OTHER)
    (home / "latest.csv").symlink_to("january.csv")
    await wire.run("people:v1", "latest.csv")
    (home / "latest.csv").unlink()
    (home / "latest.csv").symlink_to("february.csv")
    assert (await again(wire, source="latest.csv")).document["source_changed"] is True
    (home / "january.csv").rename(home / "old.csv")
    (home / "latest.csv").unlink()
    (home / "latest.csv").symlink_to("old.csv")
    assert (await again(wire, source="latest.csv")).document["source_changed"] is False


CHANGES: list[tuple[Callable[[Path], object], bool | None]] = [
    (lambda folder: None, False),
    (lambda folder: (folder / "c.csv").write_text("id\n3\n"), True),
    (lambda folder: (folder / "c.csv").unlink(), False),
    (lambda folder: later(folder / "b.csv", "id\n7\n"), True),
    (lambda folder: later(folder / "b.csv", "id\n2\n"), False),
    (lambda folder: (folder / "b.csv").rename(folder / "x.csv"), True),
    (lambda folder: (folder / "x.csv").unlink(), True),
    (lambda folder: shutil.rmtree(folder), None),
]


async def test_the_files_of_a_pattern(home: Path) -> None:
    (home / "flows/days.v1.toml").write_text(
        'flow = "days"\nversion = "v1"\n[source]\nuri = "{source_path}/*.csv"\n[columns.id]\ntype = "integer"\n'
    )
    (home / "day").mkdir()
    (home / "day/a.csv").write_text("id\n1\n")
    (home / "day/b.csv").write_text("id\n2\n")
    async with serve(home) as wire:
        await wire.run("days:v1", "day")
        for number, (change, changed) in enumerate(CHANGES):
            change(home / "day")
            found = (await again(wire, "days:v1", "day")).document["source_changed"]
            assert found is changed, number


@pytest.mark.thorough
async def test_a_file_that_is_too_large_for_a_digest(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and time alone count: one that was written again is taken for changed."""
    small = "from lume_local._worker.sources.places import source_kinds; source_kinds.MOST_DIGESTED = 9; "
    monkeypatch.setattr(child, "default_start", altered(lambda program: small + program))
    async with serve(home) as wire:
        await wire.run("people:v1", "people.csv")
        assert (await again(wire)).document["source_changed"] is False
        later(home / "people.csv", PEOPLE_CSV)
        assert (await again(wire)).document["source_changed"] is True


@pytest.mark.thorough
async def test_objects_of_a_store(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "flows").mkdir()
    flow = 'flow = "clean"\nversion = "v1"\n[columns.id]\ntype = "integer"\n'
    (tmp_path / "flows/clean.v1.toml").write_text(flow)
    pattern = flow.replace('"v1"', '"v2"\n[source]\nuri = "{source_path}/*.csv"')
    (tmp_path / "flows/clean.v2.toml").write_text(pattern)
    bucket.put("in/a.csv", b"id\n1\n")
    async with serve(tmp_path, roots=["s3://warehouse/in"]) as wire:
        both = (("clean:v1", "s3://warehouse/in/a.csv"), ("clean:v2", "s3://warehouse/in"))
        for ref, source in both:
            assert (await wire.run(ref, source))["status"] == "SUCCEEDED"
            bucket.put("in/a.csv", b"id\n1\n")
            assert (await again(wire, ref, source)).document["source_changed"] is False
        bucket.put("in/a.csv", b"id\n2\n")
        for ref, source in both:
            assert (await again(wire, ref, source)).document["source_changed"] is True
        bucket.put("in/a.csv", b"id\n1\n")
        bucket.put("in/b.csv", b"id\n1\n")
        found = [(await again(wire, *one)).document["source_changed"] for one in both]
        assert found == [False, True]
        bucket.remove("in/a.csv")
        assert (await again(wire, *both[0])).document["source_changed"] is None


async def test_a_look_that_takes_too_long_leaves_it_open(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wire.run("people:v1", "people.csv")
    later(home / "people.csv", MORE)
    monkeypatch.setattr(resolver, "LOOK_LIMIT", 0.0)
    assert (await again(wire)).document["source_changed"] is None
    monkeypatch.undo()
    assert (await again(wire)).document["source_changed"] is True


# -- clients


async def test_attach_raises_where_the_source_was_changed(server: lume_local.Server, home: Path) -> None:
    async with server.client() as client:
        first = await (await client.run("people:v1", "people.csv")).wait()
        attached = await client.run("people:v1", "people.csv", on_duplicate="attach")
        assert (attached.id, attached.reused) == (first.id, True)
        later(home / "people.csv", MORE)
        for choice in ("raise", "attach"):
            with pytest.raises(DuplicateRunError, match="was changed since") as caught:
                await client.run("people:v1", "people.csv", on_duplicate=choice)  # type: ignore[arg-type]
            assert (caught.value.run_id, caught.value.source_changed) == (first.id, True)
        again = await (await client.run("people:v1", "people.csv", force_rerun=True)).wait()
        assert again.metadata.metrics.rows_mapped == 4
        attached = await client.run("people:v1", "people.csv", on_duplicate="attach")
        assert (attached.id, attached.reused) == (again.id, True)


# -- identity = "content"


@pytest.fixture
def by_content(home: Path) -> Path:
    (home / "flows/people.v2.toml").write_text(CONTENT)
    return home


async def test_the_same_name_every_month(by_content: Path) -> None:
    file, ids = by_content / "people.csv", set()
    async with serve(by_content) as wire:
        for text in (PEOPLE_CSV, OTHER, MORE):
            later(file, text)
            run = await wire.run("people:v2", "people.csv")
            assert run["status"] == "SUCCEEDED"
            ids.add(run["metadata"]["target_locations"]["mapped"])
            answer = await again(wire, "people:v2")
            assert (answer.document["run_id"], answer.document["source_changed"]) == (run["id"], False)
            later(file, text)  # written again: the content counts
            assert (await again(wire, "people:v2")).document["run_id"] == run["id"]
        assert len(ids) == 3
        later(file, PEOPLE_CSV)  # an old content comes back
        assert (await again(wire, "people:v2")).document["source_changed"] is False
        shutil.copy(file, by_content / "copy.csv")  # the same content under another path is another source
        assert (await wire.run("people:v2", "copy.csv"))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("dev", [False, True])
async def test_it_survives_a_restart(by_content: Path, dev: bool) -> None:
    for text, status in ((PEOPLE_CSV, 201), (PEOPLE_CSV, 409), (OTHER, 201), (OTHER, 409)):
        later(by_content / "people.csv", text)
        async with serve(by_content, dev=dev) as wire:
            answer = await wire.submit("people:v2", "people.csv")
            assert answer.status == status
            if status == 201:
                await wire.until(answer.document["id"])


async def test_a_source_that_is_changed_before_its_run_reads_it_fails_the_run(by_content: Path) -> None:
    """Else one content would count as processed and another one would be."""
    (by_content / "slow.csv").write_text(slow_rows())
    async with serve(by_content) as wire:
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        waiting = (await wire.submit("people:v2", "people.csv")).document["id"]
        missing = (await wire.submit("people:v2", "absent.csv")).document["id"]
        later(by_content / "people.csv", OTHER)
        (by_content / "absent.csv").write_text(PEOPLE_CSV)
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        for run in (waiting, missing):
            ended = await wire.until(run)
            assert ended["status"] == "FAILED"
            assert "was changed after this run was submitted" in ended["metadata"]["error_message"]
        for source in ("people.csv", "absent.csv"):
            assert (await wire.run("people:v2", source))["status"] == "SUCCEEDED"
        gone = await wire.run("people:v2", "none.csv")
        assert "there is no file" in gone["metadata"]["error_message"]


async def test_a_digest_that_takes_too_long_is_refused(
    by_content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(by_content) as wire:
        monkeypatch.setattr(resolver, "DIGEST_LIMIT", 0.0)
        answer = await wire.submit("people:v2", "people.csv")
        assert (answer.status, answer.kind) == (422, "not-supported")
        assert "took longer than" in answer.document["detail"]


@pytest.mark.parametrize("key", ["mapped", "rejects"])
def test_two_contents_must_not_write_one_file(key: str) -> None:
    flow = {
        "flow": "f",
        "version": "v1",
        "source": {"identity": "content"},
        "target": {key: "out/{source_path}.csv"},
        "columns": {"id": {}},
    }
    with pytest.raises(FlowError, match=r"put \{run_id\} into it") as caught:
        read_definition(flow)
    assert caught.value.place == f"target.{key}"
    flow["target"] = {key: "out/{source_path}/{run_id}.csv"}
    read_definition(flow)


def test_a_query_has_no_such_identity() -> None:
    source = {"format": "sql", "identity": "content", "url_env": "DB", "query": "SELECT 1"}
    flow = {"flow": "f", "version": "v1", "source": source, "columns": {"id": {}}}
    with pytest.raises(FlowError, match="has no meaning for format 'sql'"):
        read_definition(flow)


# -- pure parts

A, B = SourceContent(3, "seen", "one"), SourceContent(3, "seen too", "one")


@pytest.mark.parametrize(
    ("before", "now", "needs_digest", "expected"),
    [
        (A, A, False, False),
        (A, SourceContent(3, "seen", None), False, False),
        (A, B, True, False),
        (A, SourceContent(3, "x", "two"), True, True),
        (A, SourceContent(4, "x", None), False, True),
        (SourceContent(3, "seen", None), SourceContent(3, "x", None), False, True),
    ],
)
def test_what_counts_as_changed(
    before: SourceContent, now: SourceContent, needs_digest: bool, expected: bool
) -> None:
    assert is_open(before, now) is needs_digest
    assert is_other(before, now) is expected


def test_a_key_keeps_its_places() -> None:
    key = with_content("/a.csv\n/b.csv", "0" * 64)
    assert content_in(key, "/a.csv\n/b.csv") == "0" * 64
    assert places_of(key) == places_of(f"{key}#{'1' * 64}") == ["/a.csv", "/b.csv"]
    assert content_in(f"{key}#{'1' * 64}", "/a.csv\n/b.csv") == "0" * 64


async def test_many_duplicates_at_once_are_told_by_few_processes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a backfill over what was processed before: one for each would take too long to say it of all."""
    started = list[Any]()
    start = Worker.start

    async def counted(*given: Any) -> Worker:
        started.append(given)
        return await start(*given)

    monkeypatch.setattr(Worker, "start", counted)
    async with serve(home) as wire:
        await wire.run("people:v1", "people.csv")
        answers = await asyncio.gather(*(wire.submit("people:v1", "people.csv") for _ in range(60)))
    assert {(one.status, one.document["source_changed"]) for one in answers} == {(409, False)}
    assert len(started) < 10
