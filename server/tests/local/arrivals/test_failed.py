"""Failed files: put aside, repeated if their runs crashed, and taken again when a person asks."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.arrivals.site import Site, arrival_of
from local.arrivals.test_reruns import ended, new_run
from local.arrivals.test_states import settled, site_on
from moto_server import BUCKET, Bucket
from on_posix import posix_only
from sftp_server import SftpSite

from lume_local._arrivals import watcher
from lume_local._arrivals.local_place import LocalMoves, LocalPlace
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import ASIDE
from lume_local._runs.store.records import StoredRun

pytestmark = posix_only
FOLDERS = {"failed": '"quarantine/"', "after": '{ move = "done/" }'}
FIRST, OTHER = "no\n1\n", "no\n2\n"


class Inbox:
    """A place with an arrival, of one of the three kinds; files are text by their path below it."""

    def __init__(
        self, site: Site, put: Callable[[str, str], object], files: Callable[[], dict[str, str]]
    ) -> None:
        self.site, self.put, self.files = site, put, files

    async def ends(self, status: str) -> StoredRun:
        """End the last run; return it."""
        run = (await self.site.runs())[-1]
        await self.site.end(run, status)
        await self.site.after(0)
        return run

    async def again(self, *paths: str) -> list[tuple[str, str | None]]:
        self.site.watcher._place = self.site.place  # as its task has it
        taken, _ = await self.site.watcher.retry(paths)
        return [(path, why) for path, _, why in taken]


def in_folder(folder: Path) -> dict[str, str]:
    return {str(one.relative_to(folder)): one.read_text() for one in folder.rglob("*") if one.is_file()}


@pytest.fixture(params=["folder", "bucket", "sftp"])
async def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inbox]:
    if request.param == "folder":
        async with site_on(tmp_path, **FOLDERS) as site:
            folder = tmp_path / "in"
            yield Inbox(site, lambda name, text: (folder / name).write_text(text), lambda: in_folder(folder))
    elif request.param == "bucket":
        bucket: Bucket = request.getfixturevalue("bucket")

        def files() -> dict[str, str]:
            return {one.removeprefix("in/"): bucket.get(one).decode() for one in bucket.names()}

        values = {"from": f'"s3://{BUCKET}/in/*.csv"'} | FOLDERS
        async with site_on(tmp_path, f"s3://{BUCKET}", **values) as site:
            yield Inbox(site, lambda name, text: bucket.put(f"in/{name}", text.encode()), files)
    else:
        server: SftpSite = request.getfixturevalue("sftp_site")
        (server.files / "in").mkdir()
        values = {"from": f'"{server.url}/in/*.csv"'} | FOLDERS
        async with site_on(tmp_path, server.root, **values) as site:
            put = lambda name, text: server.put(f"in/{name}", text.encode())  # noqa: E731
            yield Inbox(site, put, lambda: in_folder(server.files / "in"))


async def test_a_failed_file_is_put_aside_and_taken_again(inbox: Inbox) -> None:
    """It comes back to its path, is run once, and is moved once a run has output. Restarts change nothing."""
    inbox.put("a.csv", FIRST)
    await settled(inbox.site)
    await inbox.ends("FAILED")
    assert inbox.files() == {"quarantine/a.csv": FIRST}
    await inbox.site.restart()
    await settled(inbox.site)
    assert len(await inbox.site.runs()) == 1
    for number, status in ((2, "CRASHED"), (3, "SUCCEEDED")):
        ((path, why),) = await inbox.again()
        assert (path.rpartition("/")[2], why) == ("a.csv", "it is taken again once it is ready")
        assert inbox.files() == {"a.csv": FIRST}
        await inbox.site.restart()
        await settled(inbox.site)
        assert len(await inbox.site.runs()) == number
        await settled(inbox.site)
        await inbox.ends(status)
    assert len(await inbox.site.runs()) == 3, "one for each time"
    assert inbox.files() == {"done/a.csv": FIRST}
    assert await inbox.again() == []


async def test_names_that_are_taken(inbox: Inbox) -> None:
    """New content is a new chance, and the file that was put aside stays for whoever wants to look at it."""
    for text in (FIRST, OTHER):
        inbox.put("a.csv", text)
        await settled(inbox.site)
        await inbox.ends("FAILED")
    assert inbox.files() == {"quarantine/a.csv": FIRST, "quarantine/a-2.csv": OTHER}
    inbox.put("a.csv", FIRST + "3\n")
    ((_, why),) = await inbox.again()
    assert why is not None
    assert "another file is at its path by now" in why
    await settled(inbox.site)
    await inbox.ends("SUCCEEDED")
    assert inbox.files() == {
        "quarantine/a.csv": FIRST,
        "quarantine/a-2.csv": OTHER,
        "done/a.csv": f"{FIRST}3\n",
    }


async def test_a_refused_file_is_put_aside_and_listed(inbox: Inbox) -> None:
    """Until a person takes it again, or takes it away."""
    inbox.put("a.csv", FIRST)
    await settled(inbox.site)
    await inbox.ends("SUCCEEDED")
    for _ in range(2):
        inbox.put("a.csv", OTHER)
        await settled(inbox.site)
        await inbox.site.restart()
        await settled(inbox.site)
        (why,) = (await inbox.site.refused()).values()
        assert 'with other content, and changed = "refuse"' in why
        assert inbox.files() == {"done/a.csv": FIRST, "quarantine/a.csv": OTHER}
        assert len(await inbox.again()) == 1
        assert inbox.files() == {"done/a.csv": FIRST, "a.csv": OTHER}
    await settled(inbox.site)
    assert len(await inbox.site.refused()) == 1
    assert len(await inbox.site.runs()) == 1


async def test_a_refused_file_that_a_person_takes_away(tmp_path: Path) -> None:
    async with site_on(tmp_path, **FOLDERS) as site:
        (tmp_path / "in/a.csv").write_text(FIRST)
        await settled(site)
        await site.end((await site.runs())[0])
        await site.after(0)
        (tmp_path / "in/a.csv").write_text(OTHER)
        await settled(site)
        (tmp_path / "in/quarantine/a.csv").unlink()
        await site.compare()
        assert await site.refused() == {}


async def test_what_is_refused_as_it_is_stays(tmp_path: Path) -> None:
    """A link, which no run may follow, isn't moved either."""
    async with site_on(tmp_path, **FOLDERS) as site:
        (tmp_path / "in/a.csv").symlink_to("/etc/passwd")
        await settled(site)
        assert list(await site.refused()) == ["in/a.csv"]
        assert (tmp_path / "in/a.csv").is_symlink()


async def test_a_refused_file_that_can_not_be_moved_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with site_on(tmp_path, **FOLDERS) as site:
        (tmp_path / "in/a.csv").write_text(FIRST)
        await settled(site)
        await site.end((await site.runs())[0])
        await site.after(0)
        (tmp_path / "in/quarantine").write_text("a file")
        (tmp_path / "in/a.csv").write_text(OTHER)
        for _ in range(3):
            await settled(site)
        assert "in/a.csv can't be moved: in/quarantine is a file, not a folder" in site.watcher.trouble
        assert len([one for one in caplog.messages if "can't be moved" in one]) == 1
        (tmp_path / "in/quarantine").unlink()
        await settled(site)
        assert site.watcher.trouble == ""
        assert (tmp_path / "in/quarantine/a.csv").read_text() == OTHER


async def test_put_back_by_hand_is_taken_again(tmp_path: Path) -> None:
    async with site_on(tmp_path, **FOLDERS) as site:
        (tmp_path / "in/a.csv").write_text(FIRST)
        await settled(site)
        await site.end((await site.runs())[0], "FAILED")
        await site.after(0)
        (tmp_path / "in/quarantine/a.csv").rename(tmp_path / "in/a.csv")
        await settled(site)
        assert len(await site.runs()) == 2


async def test_without_a_folder_a_failed_file_is_run_where_it_is(tmp_path: Path) -> None:
    """Once for each failed run, however often somebody asks meanwhile."""
    async with site_on(tmp_path) as site:
        for name in ("a", "b"):
            (tmp_path / f"in/{name}.csv").write_text(FIRST)
        await settled(site)
        for run in await site.runs():
            await site.end(run, "FAILED")
        inbox = Inbox(site, lambda *_: None, dict)
        assert await inbox.again("in/a.csv") == [("in/a.csv", None)]
        assert [one for one, _ in await inbox.again()] == ["in/b.csv"]
        assert await inbox.again() == []
        assert len(await site.runs()) == 4


async def test_more_files_than_one_request_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that fails again at once isn't taken a second time."""
    monkeypatch.setattr(watcher, "MOST_TAKEN", 2)
    async with site_on(tmp_path) as site:
        for number in range(5):
            (tmp_path / f"in/{number}.csv").write_text(FIRST)
        await settled(site)
        for run in await site.runs():
            await site.end(run, "FAILED")
        site.watcher._place, after, taken = site.place, "", list[str]()
        while True:
            some, following = await site.watcher.retry((), after)
            taken += [path for path, _, _ in some]
            for run in (await site.runs())[-len(some) :]:
                await site.end(run, "FAILED")
            if following is None:
                break
            after = following
    assert sorted(taken) == [f"in/{number}.csv" for number in range(5)]


@asynccontextmanager
async def crashing(home: Path, **values: str) -> AsyncIterator[Inbox]:
    async with site_on(home, **{"retry": "2", **values}) as site:
        (home / "in/a.csv").write_text(FIRST)
        await settled(site)
        yield Inbox(site, lambda *_: None, lambda: in_folder(home / "in"))


async def test_a_crashed_run_is_repeated(tmp_path: Path) -> None:
    """So often, with growing pauses, and also by another server; then it is put aside. A failed run is not."""
    async with crashing(tmp_path, **FOLDERS) as inbox:
        site = inbox.site
        for number, pause in ((1, 10.0), (2, 30.0)):
            await inbox.ends("CRASHED")
            await site.after(pause - 1)
            assert len(await site.runs()) == number
            assert inbox.files() == {"a.csv": FIRST}
            await site.restart()
            await site.compare()
            await site.after(pause)
            await site.compare()
            await site.compare()
            assert [run.run_metadata.get("retry", 0) for run in await site.runs()] == [*range(number + 1)]
        await inbox.ends("CRASHED")
        await site.after(10_000)
        await settled(site)
        assert len(await site.runs()) == 3
        assert inbox.files() == {"quarantine/a.csv": FIRST}


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "SUCCEEDED"])
async def test_a_run_that_did_not_crash_is_not_repeated(tmp_path: Path, status: str) -> None:
    async with crashing(tmp_path) as inbox:
        await inbox.ends("CRASHED")
        await inbox.site.compare()
        await inbox.site.after(10.0)
        await inbox.site.compare()
        await inbox.ends(status)
        await inbox.site.after(10_000)
        await settled(inbox.site)
        assert len(await inbox.site.runs()) == 2


async def test_a_copied_count_is_no_count(tmp_path: Path) -> None:
    """`lume rerun` copies the metadata; a run that the server didn't submit begins the count anew."""
    async with crashing(tmp_path) as inbox:
        site = inbox.site
        for again in (False, True):
            last = await inbox.ends("CRASHED")
            if again:
                copied = {"retry": 2, "arrival": last.run_metadata["arrival"]}
                by_hand = evolve(
                    new_run(path="in/a.csv"), flow_version=last.flow_version, run_metadata=copied
                )
                by_hand = evolve(by_hand, source_path=last.source_path, source_key=last.source_key)
                await site.store.create(evolve(by_hand, arrived=None, submitted_by="ann"))
                await inbox.ends("CRASHED")
            await site.compare()
            await site.after(10.0)
            await site.compare()
        assert [run.run_metadata.get("retry", 0) for run in await site.runs()] == [0, 1, 2, 1]


async def test_a_person_is_faster(tmp_path: Path) -> None:
    """The run that takes the file over begins the count anew."""
    async with crashing(tmp_path) as inbox:
        run = await inbox.ends("CRASHED")
        await inbox.again()
        assert len(await inbox.site.runs()) == 2
        await inbox.site.after(10_000)
        await inbox.site.compare()
        assert len(await inbox.site.runs()) == 2, run
        await inbox.ends("CRASHED")
        await inbox.site.compare()
        await inbox.site.after(10.0)
        await inbox.site.compare()
        assert [run.run_metadata.get("retry", 0) for run in await inbox.site.runs()] == [0, 0, 1]


MOVE = LocalPlace.move


async def killed(self: LocalPlace, *values: Any) -> str | None:
    await MOVE(self, *values)
    raise KeyboardInterrupt


@pytest.mark.parametrize("refused", [False, True])
async def test_a_kill_between_the_move_and_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    async with site_on(tmp_path, **FOLDERS) as site:
        inbox = Inbox(site, lambda *_: None, lambda: in_folder(tmp_path / "in"))
        (tmp_path / "in/a.csv").write_text(FIRST)
        await settled(site)
        if refused:
            await inbox.ends("SUCCEEDED")
            (tmp_path / "in/a.csv").write_text(OTHER)
            await site.compare()
            site.time += 10
            await site.watcher.step(site.place)
        else:
            await site.end((await site.runs())[0], "FAILED")
        with monkeypatch.context() as patch:
            patch.setattr(LocalPlace, "move", killed)
            with pytest.raises(KeyboardInterrupt):
                await site.watcher.move(site.place)
        await site.restart()
        await site.watcher.move(site.place)
        await settled(site)
        assert "quarantine/a.csv" in inbox.files()
        assert len(await inbox.again()) == 1
        assert "a.csv" in inbox.files()


async def interrupted(*_: Any) -> bool:
    raise KeyboardInterrupt


@pytest.mark.parametrize("refused", [False, True])
async def test_a_kill_while_a_file_is_moved_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """The next server finishes that, or the next call, if a run knows the file; nothing stays under a hidden name."""
    async with site_on(tmp_path, **FOLDERS) as site:
        inbox = Inbox(site, lambda *_: None, lambda: in_folder(tmp_path / "in"))
        (tmp_path / "in/a.csv").write_text(FIRST)
        await settled(site)
        await inbox.ends("SUCCEEDED" if refused else "FAILED")
        if refused:
            (tmp_path / "in/a.csv").write_text(OTHER)
            await settled(site)
        assert "quarantine/a.csv" in inbox.files()
        with monkeypatch.context() as patch:
            patch.setattr(LocalMoves, "name", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await inbox.again()
        await site.restart()
        await site.compare()
        await inbox.again()
        assert set(inbox.files()) == ({"a.csv", "done/a.csv"} if refused else {"a.csv"})


async def test_a_kill_after_a_move_to_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is taken again is the last one, not the earlier one with its name."""
    async with site_on(tmp_path, **FOLDERS) as site:
        inbox = Inbox(site, lambda *_: None, lambda: in_folder(tmp_path / "in"))
        (tmp_path / "in/a.csv").write_text(FIRST)
        await settled(site)
        await inbox.ends("FAILED")
        (tmp_path / "in/a.csv").write_text(OTHER)
        await settled(site)
        await site.end((await site.runs())[-1], "FAILED")
        with monkeypatch.context() as patch:
            patch.setattr(LocalPlace, "move", killed)
            with pytest.raises(KeyboardInterrupt):
                await site.watcher.move(site.place)
        await site.restart()
        await site.compare()
        await inbox.again()
        assert inbox.files() == {"quarantine/a.csv": FIRST, "a.csv": OTHER}


async def test_only_failed_files_of_the_arrival(store: SqlStore) -> None:
    """In both stores; the last run of a file counts."""
    for number, status in enumerate(("FAILED", "CRASHED", "CANCELLED", "SUCCEEDED")):
        await ended(store, new_run(seen="s", content="x", path=f"in/{number}.csv"), status)
    await ended(store, new_run(path="in/person.csv"), "FAILED")
    failed = store.arrivals.failed
    found = await failed("acme", "orders", (), "", 100)
    assert [(one.path, one.status) for one in found] == [
        ("in/0.csv", "FAILED"),
        ("in/1.csv", "CRASHED"),
        ("in/2.csv", "CANCELLED"),
    ]
    assert await failed("other", "orders", (), "", 100) == await failed("acme", "people", (), "", 100) == []
    (move,) = await failed("acme", "orders:v7", ("in/1.csv", "in/3.csv"), "", 100)
    assert [one.path for one in await failed("acme", "orders", (), move.source_key, 1)] == ["in/2.csv"]
    await store.arrivals.moved(move, is_gone=True, aside="in/quarantine/1.csv")
    (move,) = await failed("acme", "orders", ("in/1.csv",), "", 100)
    assert move.seen == f"{ASIDE}in/quarantine/1.csv"
    assert move.path not in [one.path for one in await store.arrivals.moves("acme")]


def test_settings() -> None:
    arrival = arrival_of(**FOLDERS, retry="3")
    assert (arrival.failed, arrival.retry, arrival.follows) == ("quarantine", 3, True)
    assert not arrival_of().follows
