"""One clear state for each file: it waits, was submitted or is refused, and why."""

import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from local.arrivals.site import Site, arrival_of
from local.states import moved
from moto_server import BUCKET, Bucket
from on_posix import posix_only

from lume_local._arrivals import local_place, store_place
from lume_local._arrivals.local_place import WatchedFolder
from lume_local._arrivals.place import ArrivalEntry, PlaceTrouble
from lume_local._arrivals.watcher import opened
from lume_local._runs.sources.paths import Roots
from lume_local._runs.store.records import NewRun
from lume_local._worker import object_stores

pytestmark = posix_only


@asynccontextmanager
async def site_on(home: Path, *stores: str, **values: Any) -> AsyncIterator[Site]:
    (home / "in").mkdir(exist_ok=True)
    site = Site(home, arrival_of(**values), *stores)
    await site.open()
    try:
        yield site
    finally:
        await site.close()


async def settled(site: Site) -> None:
    await site.compare()
    await site.after(10.0)
    await site.compare()


async def test_a_file_that_is_being_written_waits(tmp_path: Path) -> None:
    async with site_on(tmp_path) as site:
        file = tmp_path / "in/a.csv"
        for text in ("no\n", "no\n1\n", "no\n1\n2\n"):
            file.write_text(text)
            await site.after(6.0)
            await site.compare()
            assert site.waiting() == {"in/a.csv": "it is ready once it has not changed for 10 s"}
        await site.after(10.0)
        assert [run.source_path for run in await site.runs()] == ["in/a.csv"]
        (run,) = await site.runs()
        assert (run.submitted_by, run.run_metadata) == ("arrival:acme", {"arrival": "acme"})
        assert site.waiting() == {}


async def test_a_marker_says_that_a_file_is_complete(tmp_path: Path) -> None:
    async with site_on(tmp_path, ready='{ marker = "{path}.done" }', **{"from": '"in/*"'}) as site:
        file, marker = tmp_path / "in/a.csv", tmp_path / "in/a.csv.done"
        file.write_text("no\n1\n")
        await settled(site)
        assert site.waiting() == {"in/a.csv": "its marker in/a.csv.done is not there"}
        marker.touch()
        ahead = marker.stat().st_mtime + 7200
        os.utime(file, (ahead, ahead))  # by a clock that is two hours ahead
        await site.watcher.found(site.place, ["in/a.csv.done"])
        (why,) = site.waiting().values()
        assert "7,200.0 s after its marker" in why
        assert "ahead of this machine's clock" in why
        os.utime(marker, (ahead, ahead))
        await site.watcher.found(site.place, ["in/a.csv.done"])
        assert len(await site.runs()) == 1, "and the marker itself is no file that arrives"
        assert site.waiting() == {}


async def test_what_can_never_be_a_source_is_refused(tmp_path: Path) -> None:
    async with site_on(tmp_path) as site:
        (tmp_path / "in/out.csv").symlink_to("/etc/passwd")
        (tmp_path / "in/dangling.csv").symlink_to("nowhere.csv")
        (tmp_path / "elsewhere.csv").write_text("no\n1\n")
        (tmp_path / "in/within.csv").symlink_to(tmp_path / "elsewhere.csv")
        os.mkfifo(tmp_path / "in/pipe.csv")
        (tmp_path / "in/folder.csv").mkdir()
        (tmp_path / "in/two\nlines.csv").touch()
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9.csv")).touch()
        await settled(site)

        refused = await site.refused()
        assert set(refused) == {"in/out.csv", "in/pipe.csv", "in/two\nlines.csv", "in/caf\\xe9.csv"}
        assert "it is a link: the source 'in/out.csv' lies outside" in refused["in/out.csv"]
        assert "not a regular file" in refused["in/pipe.csv"]
        assert "control character" in refused["in/two\nlines.csv"]
        assert "not UTF-8" in refused["in/caf\\xe9.csv"]
        assert [run.source_path for run in await site.runs()] == ["in/within.csv"]
        (tmp_path / "in/out.csv").unlink()
        await site.compare()
        assert "in/out.csv" not in await site.refused(), "it is gone"
        await site.restart()
        await settled(site)
        assert len(await site.refused()) == 3
        assert len(await site.runs()) == 1


async def test_a_folder_that_leads_out_of_the_roots_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.csv").write_text("no\n1\n")
    (home / "in").mkdir(parents=True)
    (home / "in/acme").symlink_to(tmp_path / "out")
    async with site_on(home, **{"from": '"in/*/*.csv"'}) as site:
        await settled(site)
        assert set(await site.refused()) == {"in/acme"}
        assert await site.runs() == []


@pytest.mark.parametrize("policy", ["refuse", "rerun", "ignore"])
async def test_other_content_under_a_path(tmp_path: Path, policy: str) -> None:
    async with site_on(tmp_path, changed=f'"{policy}"') as site:
        file = tmp_path / "in/a.csv"
        file.write_text("no\n1\n")
        await settled(site)
        (run,) = await site.runs()
        file.write_text("no\n2\n")
        await settled(site)
        assert (
            f"run {run.run_id}, which reads its earlier content, has not ended" in site.waiting()["in/a.csv"]
        )
        await site.end(run)
        await site.after(0)
        runs = await site.runs()
        assert [one.force_rerun for one in runs] == ([False, True] if policy == "rerun" else [False])
        refused = await site.refused()
        assert list(refused) == (["in/a.csv"] if policy == "refuse" else [])
        if policy == "refuse":
            assert run.run_id in refused["in/a.csv"]
        file.write_text("no\n1\n")
        await settled(site)
        assert len(await site.runs()) == len(runs), "this content was submitted"
        assert await site.refused() == {}


@pytest.mark.parametrize("policy", ["refuse", "rerun", "ignore"])
@pytest.mark.parametrize("first", ["FAILED", "SUCCEEDED"])
async def test_a_run_that_was_purged(tmp_path: Path, policy: str, first: str) -> None:
    """One that failed stays in the list, and does not hold its path; that one has processed it is still known."""
    async with site_on(tmp_path, changed=f'"{policy}"') as site:
        file = tmp_path / "in/a.csv"
        for n, status in enumerate((first, "FAILED")):
            file.write_text(f"no\n{n}\n")
            await settled(site)
            run = (await site.runs())[-1]
            ended = await moved(site.store, run.run_id, status, finished_at="2026-01-01T00:00:00Z")
            site.watcher.run_ended(ended)
            if status == "SUCCEEDED" and policy != "rerun":
                break
        (tmp_path / "in/z.csv").write_text("no\n1\n")
        await settled(site)
        before = "2026-06-01T00:00:00Z"
        old, _ = await site.store.purge.old(before, ("", 0), 10, outputs=False)
        await site.store.purge.remove(old, before, outputs=False, detail={})
        left = [(one.source_path, one.status) for one in await site.runs()]
        failed = [("in/a.csv", "FAILED")] * (first == "FAILED" or policy == "rerun")
        succeeded = [("in/a.csv", "SUCCEEDED")] * (first == "SUCCEEDED")
        assert left == [*succeeded, *failed, ("in/z.csv", "CREATED")]
        listed = [(one.source_path, one.status) for one in await site.store.newest_arrived(["acme"], 10)]
        assert listed == left[::-1]
        file.write_text("no\n3\n")
        await settled(site)
        is_new = first == "FAILED" or policy == "rerun"
        assert len(await site.runs()) == len(left) + is_new
        assert list(await site.refused()) == ([] if is_new or policy == "ignore" else ["in/a.csv"])


async def test_what_a_backfill_has_processed_is_not_submitted_again(tmp_path: Path) -> None:
    async with site_on(tmp_path) as site:
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        key = str(tmp_path / "in/a.csv")
        run, _ = await site.store.create(NewRun("orders:v1", "in/a.csv", key, None, False, None, "x"))
        await settled(site)
        assert run.run_id in site.waiting()["in/a.csv"]
        await site.end(run)
        await site.after(0)
        assert site.waiting() == {}
        await site.restart()
        await settled(site)
        assert len(await site.runs()) == 1


async def test_what_persons_submit_goes_first(tmp_path: Path) -> None:
    async with site_on(tmp_path) as site:
        for n in range(5):
            (tmp_path / f"in/{n}.csv").write_text(f"no\n{n}\n")
        await settled(site)
        assert len(await site.runs()) == 5
        mine, _ = await site.store.create(NewRun("orders:v1", "b.csv", "/b.csv", None, False, None, "x"))
        following = await site.store.next_waiting([])
        assert following is not None
        assert following.run_id == mine.run_id


async def test_without_its_flow_a_file_waits(tmp_path: Path) -> None:
    async with site_on(tmp_path, flow='"nobody"') as site:
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        await settled(site)
        assert site.waiting() == {"in/a.csv": "there is no version of a flow 'nobody': register one"}


async def test_a_file_that_waits_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is the same; what is submitted is what there is."""
    async with site_on(tmp_path) as site:
        read, contents = list[str](), site.place.contents

        async def counted(entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
            read.extend(entry.path for entry in entries)
            return await contents(entries)

        monkeypatch.setattr(site.place, "contents", counted)
        file = tmp_path / "in/a.csv"
        file.write_text("no\n1\n")
        await settled(site)
        (run,) = await site.runs()
        for n in (2, 3):
            file.write_text(f"no\n{n}\n")
            await settled(site)
            for _ in range(10):
                await site.after(10.0)
            await site.compare()
            assert read == ["in/a.csv"] * n
        file.write_text("no\n1\n")
        await settled(site)
        assert site.waiting() == {}, "this content was submitted"
        await site.end(run)
        assert len(await site.runs()) == 1


@pytest.mark.parametrize(
    ("uri", "said"), [('"nowhere/*.csv"', "there is no folder"), ('"/etc/*.conf"', "lies outside")]
)
async def test_a_place_that_can_not_be_used(tmp_path: Path, uri: str, said: str) -> None:
    roots = Roots.of((tmp_path,), tmp_path / ".lume")
    with pytest.raises(PlaceTrouble, match=said):
        async with opened(arrival_of(**{"from": uri}), roots):
            pass


async def test_a_folder_without_notifications_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_place, "file_system", lambda _: "nfs4")
    async with site_on(tmp_path) as site:
        assert site.place.watched == "a listing every 10 s: nfs4 has no notifications of what others write"
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        await settled(site)
        assert len(await site.runs()) == 1


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        ("Too many open files (os error 24)", "max_user_instances, or ulimit -n"),
        ("OS file watch limit reached.", "max_user_watches"),
    ],
)
def test_which_limit_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, limit: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(error)

    monkeypatch.setattr("watchfiles.watch", refused)
    assert WatchedFolder(tmp_path, False, threading.Event()).why_not.endswith(
        f"({error}); raise fs.inotify.{limit}"
    )


async def test_moved_files_never_overwrite(tmp_path: Path) -> None:
    async with site_on(tmp_path, after='{ move = "done/" }', **{"from": '"in/**/*.csv"'}) as site:
        (tmp_path / "in/b").mkdir()
        (tmp_path / "in/done/b").mkdir(parents=True)
        (tmp_path / "in/done/b/a.csv").write_text("somebody's")
        (tmp_path / "in/b/a.csv").write_text("no\n1\n")
        await settled(site)
        (run,) = await site.runs()
        await site.end(run, "PARTIAL_FAILED")
        await site.after(0)
        found = {path.name: path.read_text() for path in (tmp_path / "in/done/b").iterdir()}
        assert found == {"a.csv": "somebody's", "a-2.csv": "no\n1\n"}
        await settled(site)
        assert len(await site.runs()) == 1, "what is in the folder does not arrive"


@pytest.mark.parametrize("same_time", [False, True])
async def test_a_file_that_is_delivered_again_is_moved_as_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_time: bool
) -> None:
    """Also if it looks as before, and if its run had not ended then. That of a failed run stays."""
    monkeypatch.setattr(local_place, "file_system", lambda _: "nfs4")
    async with site_on(tmp_path, after='{ move = "done/" }', changed='"rerun"') as site:
        file = tmp_path / "in/a.csv"

        async def deliver(number: int, time: float = 1_700_000_000) -> None:
            file.write_text(f"no\n{number}\n")
            os.utime(file, (time, time) if same_time else None)
            await settled(site)

        def there() -> list[str]:
            return sorted(str(path.relative_to(tmp_path / "in")) for path in tmp_path.rglob("*.csv"))

        await deliver(1)
        (first,) = await site.runs()
        await deliver(1)
        await site.end(first)
        await site.after(0)
        assert there() == ["done/a.csv"]
        for n in (2, 3):
            await deliver(1)
            await settled(site)
            assert there() == [*(f"done/a-{k}.csv" for k in range(2, n + 1)), "done/a.csv"]
        await deliver(2, 1_700_000_001)
        (_, second) = await site.runs()
        await site.end(second, "FAILED")
        await deliver(2, 1_700_000_001)
        await settled(site)
        assert "a.csv" in there(), "there is no output of it"
        await deliver(1)
        await settled(site)
        assert there() == ["done/a-2.csv", "done/a-3.csv", "done/a-4.csv", "done/a.csv"]
        assert len(await site.runs()) == 2


async def test_an_object_that_is_put_there_again_is_moved_as_the_first(
    bucket: Bucket, tmp_path: Path
) -> None:
    """Nothing but its time tells the two apart."""
    values = {"from": f'"s3://{BUCKET}/in/*.csv"', "after": '{ move = "done/" }'}
    async with site_on(tmp_path, f"s3://{BUCKET}", **values) as site:
        bucket.put("in/a.csv", b"no\n1\n")
        await site.compare()
        (run,) = await site.runs()
        await site.end(run)
        await site.after(0)
        assert bucket.names() == ["in/done/a.csv"]
        bucket.put("in/a.csv", b"no\n1\n")
        await site.compare()
        await site.after(0)
        assert bucket.names() == ["in/done/a.csv"], "which has this content"
        assert len(await site.runs()) == 1


@pytest.mark.thorough
async def test_a_large_object_is_copied_in_parts(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 copies no more than 5 GiB as one."""
    parts = 5 * 1024**2
    monkeypatch.setattr(object_stores, "COPIED_AT_ONCE", 2 * parts)
    monkeypatch.setattr(object_stores, "_PART", parts)
    body = b"no\n" + b"1\n" * parts
    bucket.put("in/a.csv", body)
    bucket.put("in/b.csv", b"no\n1\n")
    values = {"from": f'"s3://{BUCKET}/in/*.csv"', "after": '{ move = "done/" }'}
    async with site_on(tmp_path, f"s3://{BUCKET}", **values) as site:
        await site.compare()
        for run in await site.runs():
            await site.end(run)
        await site.after(0)
        assert site.watcher.trouble == ""
        assert bucket.names() == ["in/done/a.csv", "in/done/b.csv"]
        assert bucket.get("in/done/a.csv") == body
        assert [bucket.tag(f"in/done/{name}.csv").partition("-")[2] for name in "ab"] == ["3", ""], "parts"


async def test_an_object_that_is_replaced_before_it_is_copied_stays(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is moved is what was loaded: S3 is asked to copy nothing else."""
    copy = store_place.s3_copy

    def late(*values: str) -> None:
        bucket.put("in/a.csv", b"no\n2\n")
        copy(*values)

    monkeypatch.setattr(store_place, "s3_copy", late)
    bucket.put("in/a.csv", b"no\n1\n")
    values = {"from": f'"s3://{BUCKET}/in/*.csv"', "after": '{ move = "done/" }', "changed": '"rerun"'}
    async with site_on(tmp_path, f"s3://{BUCKET}", **values) as site:
        await site.compare()
        (run,) = await site.runs()
        await site.end(run)
        await site.after(0)
        assert (bucket.names(), site.watcher.trouble) == (["in/a.csv"], "")
        await site.compare()
        assert len(await site.runs()) == 2


async def test_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    uri = f'"s3://{BUCKET}/in/*.csv"'
    values = {"from": uri, "after": '{ move = "done/" }', "changed": '"rerun"'}
    bucket.put("in/a.csv", b"no\n1\n")
    bucket.put("in/deeper/b.csv", b"no\n1\n")
    bucket.put("in/c.txt", b"no\n1\n")
    async with site_on(tmp_path, f"s3://{BUCKET}", **values) as site:
        await site.compare()
        assert [run.source_path for run in await site.runs()] == [f"s3://{BUCKET}/in/a.csv"]
        await site.restart()
        await site.compare()
        assert len(await site.runs()) == 1
        bucket.put("in/a.csv", b"no\n2\n")
        await site.compare()
        assert "has not ended" in site.waiting()[f"s3://{BUCKET}/in/a.csv"]
        await site.end((await site.runs())[0])
        await site.after(0)
        _, second = await site.runs()
        assert bucket.names() == ["in/a.csv", "in/c.txt", "in/deeper/b.csv"], "it is another object now"
        bucket.put("in/done/a.csv", b"somebody's")
        await site.end(second)
        await site.after(0)
        assert bucket.names() == ["in/c.txt", "in/deeper/b.csv", "in/done/a-2.csv", "in/done/a.csv"]
        assert bucket.get("in/done/a-2.csv") == b"no\n2\n"
        assert bucket.get("in/done/a.csv") == b"somebody's"
