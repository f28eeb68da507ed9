"""What is wrong with one file, folder or message is the trouble of that one: the others go on, the server, too."""

import asyncio
import errno
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
import store_servers
from local.arrivals.queues import Queue
from local.arrivals.test_states import settled, site_on
from moto_server import BUCKET, Bucket
from on_posix import posix_only
from sftp_server import SftpSite

from lume_local._arrivals import store_place, watcher
from lume_local._arrivals.local_place import LocalPlace
from lume_local._arrivals.place import ArrivalEntry, PlaceTrouble, numbered
from lume_local._sftp.connection import Cause, SftpTrouble
from lume_local._sftp.session import RemoteEntry, SftpSession
from lume_local._shared import no_links

pytestmark = posix_only


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not is_so():
            await anyio.sleep(0.02)


async def test_what_nobody_expects_is_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of this arrival, until it works again. Cancellation passes."""
    monkeypatch.setattr(watcher, "RETRY", 0.01)
    async with site_on(tmp_path) as site:
        settled_of, is_broken = site.store.arrivals.settled_of, True

        async def sometimes(*values: Any) -> list[bool]:
            if is_broken:
                raise LookupError("nobody expects it")
            return await settled_of(*values)

        monkeypatch.setattr(site.store.arrivals, "settled_of", sometimes)
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        watching = asyncio.create_task(site.watcher.watch())
        await until(lambda: "LookupError: nobody expects it" in site.watcher.trouble)
        is_broken = False
        await until(lambda: not site.watcher.trouble and bool(site.waiting()))
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
    assert "Traceback" in caplog.text
    assert "works again" in caplog.text


async def test_what_nobody_expects_of_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site_on(tmp_path) as site:

        async def broken(*_: Any) -> None:
            raise LookupError("nobody expects it")

        monkeypatch.setattr(site.place, "look", broken)
        await site.watcher.found(site.place, ["in/a.csv"])


@pytest.fixture
def few_calls() -> Iterator[None]:
    """Calls can be in each other up to 300 more than now."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 300)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.thorough
@pytest.mark.usefixtures("few_calls")
async def test_folders_in_folders(tmp_path: Path) -> None:
    """More of them than calls can be in each other."""
    async with site_on(tmp_path, **{"from": '"in/**/*.csv"'}) as site:
        await site.close()
        handle = os.open(tmp_path / "in", os.O_RDONLY)
        for _ in range(400):
            os.mkdir("d", dir_fd=handle)
            below = os.open("d", os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(handle)
        (tmp_path / "in/d/a.csv").write_text("no\n1\n")
        await site.open()
        await settled(site)
        assert [run.source_path for run in await site.runs()] == ["in/d/a.csv"]


async def test_messages_about_what_can_not_be(
    bucket: Bucket, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_place, "WAIT", 1)
    values = {"from": f'"s3://{BUCKET}/in/**/*.csv"', "queue_env": '"ORDERS_QUEUE"'}
    async with site_on(tmp_path, f"s3://{BUCKET}", **values) as site:
        for key in ("in//x.csv", "in/a%7Fb.csv", "in/%2E%2E/x.csv", 5):
            queue.send(key)  # type: ignore[arg-type]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(site.watcher.watch)
            await until(lambda: "the queue, and" in site.watcher.watched)
            bucket.put("in/ok.csv", b"no\n1\n")
            queue.send("in/ok.csv")
            with anyio.fail_after(30):
                while not await site.runs():
                    await anyio.sleep(0.02)
            assert site.watcher.trouble == ""
            tasks.cancel_scope.cancel()


async def test_as_many_wait_as_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ready needs no room among them, and the rest is told."""
    monkeypatch.setattr(watcher, "MOST_WAITING", 3)
    async with site_on(tmp_path, ready='{ marker = "{path}.done" }') as site:
        for n in range(3):
            (tmp_path / f"in/old{n}.csv").write_text("no\n1\n")
        await site.compare()
        (tmp_path / "in/new.csv").write_text("no\n2\n")
        (tmp_path / "in/new.csv.done").touch()
        await site.compare()
        assert [run.source_path for run in await site.runs()] == ["in/new.csv"]
        assert "3 files wait, which is the most" in site.watcher.trouble
        (tmp_path / "in/old0.csv").unlink()
        await site.compare()
        assert site.watcher.trouble == ""


async def test_without_quiet_nothing_has_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MOST_WAITING", 1)
    async with site_on(tmp_path, ready='{ quiet = "0s" }', flow='"orders"') as site:
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        await site.compare()
        (tmp_path / "in/a.csv").write_text("no\n2\n")
        await site.compare()
        assert list(site.waiting()) == ["in/a.csv"], "its earlier content is being read"
        (tmp_path / "in/b.csv").write_text("no\n1\n")
        await site.compare()
        assert [run.source_path for run in await site.runs()] == ["in/a.csv", "in/b.csv"]


async def test_a_file_that_can_not_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are. It is told until it could be."""
    async with site_on(tmp_path, after='{ move = "done/" }', **{"from": '"in/**/*.csv"'}) as site:
        (tmp_path / "in/a").mkdir()
        (tmp_path / "in/a/1.csv").write_text("no\n1\n")
        await settled(site)
        (tmp_path / "in/2.csv").write_text("no\n2\n")
        await settled(site)
        (tmp_path / "in/done").mkdir()
        (tmp_path / "in/done/a").touch()  # there can't be a folder of that name
        for run in await site.runs():
            await site.end(run)
        await site.restart()  # only the comparison is left
        await site.compare()
        assert sorted(path.name for path in tmp_path.rglob("*.csv")) == ["1.csv", "2.csv"]
        assert (tmp_path / "in/done/2.csv").exists()
        said = "in/a/1.csv can't be moved: in/done/a is a file, not a folder"
        assert said in site.watcher.trouble
        (tmp_path / "in/done/a").unlink()
        await site.compare()
        assert (tmp_path / "in/done/a/1.csv").exists()
        assert site.watcher.trouble == ""


async def test_a_file_that_another_server_has_moved(tmp_path: Path) -> None:
    """That this one could not is no trouble then."""
    async with site_on(tmp_path, after='{ move = "done/" }') as site:
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        (tmp_path / "in/done").touch()
        await settled(site)
        (run,) = await site.runs()
        await site.end(run)
        await site.after(0)
        assert "in/a.csv can't be moved" in site.watcher.trouble
        (move,) = await site.store.arrivals.moves("acme")
        await site.store.arrivals.moved(move, is_gone=True)
        (tmp_path / "in/a.csv").unlink()
        await site.compare()
        assert site.watcher.trouble == ""


async def test_a_long_move_holds_up_no_other_file_and_no_two_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a copy in a store: what arrives meanwhile is submitted, and moved afterwards."""
    values = {"after": '{ move = "done/" }', "ready": '{ quiet = "10ms" }'}
    move, active, most, may_go_on = LocalPlace.move, 0, 0, anyio.Event()

    async def long(place: LocalPlace, entry: ArrivalEntry, folder: str) -> str | None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        try:
            await may_go_on.wait()
            return await move(place, entry, folder)
        finally:
            active -= 1

    monkeypatch.setattr(LocalPlace, "move", long)
    async with site_on(tmp_path, **values) as site:
        monkeypatch.setattr(site.watcher, "_now", anyio.current_time)
        watching = asyncio.create_task(site.watcher.watch())
        for n in range(3):
            (tmp_path / f"in/{n}.csv").write_text(f"no\n{n}\n")
            await until(lambda n=n: site.watcher.submitted == n + 1)
            await site.end((await site.runs())[n])
            await until(lambda: active == 1)
        await site.watcher.compare(site.place)  # wants all of them to be moved, too
        assert not (tmp_path / "in/done").exists()
        may_go_on.set()
        await until(lambda: len(list(tmp_path.glob("in/done/*.csv"))) == 3)
        assert (most, site.watcher.trouble) == (1, "")
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "é" * 125 + ".csv", "a." + "b" * 249 + ".csv"])
async def test_a_long_name_that_is_taken(tmp_path: Path, name: str) -> None:
    assert len(name.encode()) <= 255
    async with site_on(tmp_path, after='{ move = "done/" }', **{"from": '"in/*.csv"'}) as site:
        (tmp_path / "in/done").mkdir()
        for made in (name, numbered(name, 2)):
            (tmp_path / "in/done" / made).write_text("somebody's")
        (tmp_path / "in" / name).write_text("no\n1\n")
        await settled(site)
        (run,) = await site.runs()
        await site.end(run)
        await site.after(0)
        assert site.watcher.trouble == ""
        (found,) = [path for path in (tmp_path / "in/done").iterdir() if path.read_text() == "no\n1\n"]
        assert found.name == numbered(name, 3)
        assert found.name.endswith("-3.csv")


@pytest.mark.parametrize("key", ["in//x.csv", "in/a\tb.csv", "in/../x.csv"])
async def test_a_key_that_is_no_path(bucket: Bucket, tmp_path: Path, key: str) -> None:
    """It is refused, as long as there is such an object, if `from` matches it; `.` and `..` match no wildcard."""
    for name in ("in/0.csv", "in/a/1.csv", "in/z.csv", key):
        bucket.put(name, b"no\n1\n")
    bucket.put("in/folder.csv/", b"")
    async with site_on(tmp_path, f"s3://{BUCKET}", **{"from": f'"s3://{BUCKET}/in/**/*.csv"'}) as site:
        for _ in range(2):
            await site.compare()
            submitted = [run.source_path for run in await site.runs()]
            assert sorted(submitted) == [f"s3://{BUCKET}/in/{name}.csv" for name in ("0", "a/1", "z")]
            assert list(await site.refused()) == ([] if "/." in key else [f"s3://{BUCKET}/{key}"])
        bucket.remove(key)
        await site.compare()
        assert await site.refused() == {}


@pytest.mark.parametrize("place", ["fake_gcs"], indirect=True)
@pytest.mark.parametrize("key", ["in//x.csv"])
async def test_a_key_that_is_no_path_elsewhere(place: store_servers.Place, tmp_path: Path, key: str) -> None:
    """There it is in the way of the others: it is named."""
    for name in ("in/0.csv", key):
        place.put(name, b"no\n1\n")
    async with site_on(tmp_path, place.url, **{"from": f'"{place.url}/in/**/*.csv"'}) as site:
        with pytest.raises(PlaceTrouble) as raised:
            await site.compare()
        said = f"{place.url}/in can't be listed: the key {key!r} is no path: give this object another key"
        assert str(raised.value).startswith(said)


async def test_a_folder_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as `lost+found`. That of the arrival itself is the trouble of all."""
    for name in ("a", "lost+found", "z"):
        (tmp_path / f"in/{name}").mkdir(parents=True)
        (tmp_path / f"in/{name}/x.csv").write_text("no\n1\n")
    opened, barred = no_links.folder, "lost+found"

    def folder(path: Path) -> AbstractContextManager[int]:
        if path.name == barred:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(no_links, "folder", folder)
    async with site_on(tmp_path, **{"from": '"in/*/*.csv"'}) as site:
        await settled(site)
        assert sorted(run.source_path for run in await site.runs()) == ["in/a/x.csv", "in/z/x.csv"]
        ((path, why),) = (await site.refused()).items()
        assert path == "in/lost+found"
        assert "this folder can't be read: Permission denied" in why
        barred = "in"
        with pytest.raises(PlaceTrouble, match="in can't be read: Permission denied"):
            await site.compare()
        barred = ""
        await settled(site)
        assert await site.refused() == {}
        assert len(await site.runs()) == 3


async def test_an_sftp_folder_that_is_denied(
    sftp_site: SftpSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "lost", "z"):
        sftp_site.put(f"in/{name}/x.csv", b"no\n1\n", 1_700_000_000)
    entries, entry, denied = SftpSession.entries, SftpSession.entry, ""

    def check(path: str) -> None:
        if f"{denied}/" in f"{path}/":
            raise SftpTrouble(f"{path} can't be used: the server denies it", Cause.DENIED)

    async def checked_entries(self: SftpSession, path: str, url: str) -> AsyncIterator[RemoteEntry]:
        check(path)
        async for one in entries(self, path, url):
            yield one

    async def checked_entry(self: SftpSession, path: str, url: str) -> RemoteEntry:
        check(path)
        return await entry(self, path, url)

    monkeypatch.setattr(SftpSession, "entries", checked_entries)
    monkeypatch.setattr(SftpSession, "entry", checked_entry)
    values = {"from": f'"{sftp_site.url}/in/*/*.csv"', "ready": '{ quiet = "10s" }'}
    denied = "/nowhere"
    async with site_on(tmp_path, sftp_site.root, **values) as site:
        await site.compare()
        assert len(site.waiting()) == 3
        denied = "/lost"
        await settled(site)
        assert len(await site.runs()) == 2
        refused = await site.refused()
        assert f"{sftp_site.url}/in/lost" in refused
        assert all("the server denies it" in why for why in refused.values())
        denied = "/in"
        with pytest.raises(PlaceTrouble, match="the server denies it"):
            await site.compare()
        denied = "/nowhere"
        await settled(site)
        await settled(site)
        assert len(await site.runs()) == 3
        assert await site.refused() == {}
