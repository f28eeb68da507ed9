"""A server is killed again and again while files arrive in a folder, on an SFTP server, or in a bucket whose
notifications come twice, late, in any order, or never: the runs are the distinct contents."""

import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import anyio
import pytest
from local import servers
from local.arrivals.queues import Queue
from local.wire import Wire
from moto_server import BUCKET, Bucket
from on_posix import posix_only
from sftp_server import SftpSite

pytestmark = [posix_only, pytest.mark.timeout(300)]
FLOW = """
flow = "orders"
version = "v1"
[target]
mapped = "{data}/out/{run_id}.csv"
[columns.no]
type = "integer"
"""
QUIET = 1.5
KILLS, WRITES = 3, 40
QUICK = """
from lume_local._arrivals import sftp_place, store_place, watcher
sftp_place.POLL = store_place.POLL = watcher.RETRY = store_place.RETRY = 0.2
store_place.CHECK, store_place.WAIT = 2.0, 1
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "SCRIPT", QUICK + servers.SCRIPT)


def content(number: int) -> bytes:
    """Two rows of one number: with one, it is half a file."""
    return b"no\n%d\n%d\n" % (number, number)


class Sender(Protocol):
    """Who puts files there.

    Attributes:
        settings: of the arrival.
        root: of the server.
    """

    settings: dict[str, str]
    root: str

    async def put(self, name: str, number: int) -> None: ...
    async def rename(self, name: str, new: str) -> None: ...
    async def other(self, dice: random.Random) -> None: ...
    def left(self) -> int: ...


class FileSender:
    """Writes slowly, or renames into place."""

    def __init__(self, folder: Path, uri: str, root: str, cut: Callable[[], object]) -> None:
        """`cut` breaks the connections to the folder."""
        self._folder, self.root, self._cut = folder, root, cut
        self.settings = {"from": f'"{uri}/*.csv"', "ready": f'{{ quiet = "{QUIET}s" }}'}
        self._time = 1_700_000_000
        folder.mkdir()

    def _write(self, name: str, body: bytes) -> Path:
        self._time += 1  # as an SFTP server's clock is, in seconds
        path = self._folder / name
        path.write_bytes(body)
        os.utime(path, (self._time, self._time))
        return path

    async def put(self, name: str, number: int) -> None:
        whole = content(number)
        if number % 2:
            self._write(f"{name}.part", whole).replace(self._folder / name)
        else:
            self._write(name, whole[: len(whole) // 2 + 1])
            await anyio.sleep(0.05)
            self._write(name, whole)

    async def rename(self, name: str, new: str) -> None:
        (self._folder / name).rename(self._folder / new)

    async def other(self, dice: random.Random) -> None:
        if dice.random() < 0.2:
            self._cut()

    def left(self) -> int:
        return 0


class BucketSender:
    """Says what it has put there no, one or several times, and some of it later."""

    def __init__(self, bucket: Bucket, queue: Queue) -> None:
        self._bucket, self._queue, self.root = bucket, queue, f"s3://{BUCKET}/in"
        self.settings = {"from": f'"s3://{BUCKET}/in/*.csv"', "queue_env": '"ORDERS_QUEUE"'}
        self._unsaid: list[str] = []

    async def put(self, name: str, number: int) -> None:
        self._bucket.put(f"in/{name}", content(number))
        self._unsaid += [f"in/{name}"] * (number % 4)

    async def rename(self, name: str, new: str) -> None:
        self._bucket.put(f"in/{new}", self._bucket.get(f"in/{name}"))
        self._bucket.remove(f"in/{name}")

    async def other(self, dice: random.Random) -> None:
        dice.shuffle(self._unsaid)
        while self._unsaid and dice.random() < 0.7:
            self._queue.send(self._unsaid.pop())

    def left(self) -> int:
        return self._queue.left()


async def runs_of(wire: Wire) -> list[dict[str, Any]]:
    found, cursor = list[dict[str, Any]](), ""
    while True:
        page = (await wire.ask("GET", f"/v1/runs?limit=100{cursor}")).document
        found += page["items"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


class Story:
    """What was put there, and what the server has made of it."""

    def __init__(self, home: Path, sender: Sender, seed: int) -> None:
        self.home, self.sender, self.dice = home, sender, random.Random(seed)
        self.is_writing = True
        self.files: dict[str, int] = {}
        self.put: set[tuple[str, int]] = set()
        (home / "flows").mkdir()
        (home / "flows/orders.v1.toml").write_text(FLOW)
        lines = {"name": '"acme"', "flow": '"orders"', "changed": '"rerun"'} | sender.settings
        text = "\n".join(f"{key} = {value}" for key, value in lines.items())
        (home / "arrivals.toml").write_text(f"[[arrival]]\n{text}\n")

    @asynccontextmanager
    async def server(self) -> AsyncIterator[tuple[servers.Process, Wire]]:
        roots = [str(self.home), self.sender.root]
        arrivals = str(self.home / "arrivals.toml")
        async with servers.process(self.home, roots=roots, arrivals=arrivals, max_active=2) as both:
            yield both

    async def go_on(self) -> None:
        for number in range(1, WRITES + 1):
            await self.write(number)
            await anyio.sleep(0.02)
        self.is_writing = False

    async def write(self, number: int) -> None:
        """Something happens to the files."""
        name = f"{self.dice.randrange(30)}.csv"
        if name in self.files and self.dice.random() < 0.2:
            new = f"{number}-renamed.csv"
            self.files[new] = self.files.pop(name)
            await self.sender.rename(name, new)
            self.put.add((new, self.files[new]))
        else:
            self.files[name] = number
            self.put.add((name, number))
            await self.sender.put(name, number)
        await self.sender.other(self.dice)

    def made_of(self, run: dict[str, Any]) -> tuple[str, int]:
        """The name and the content of a run with output."""
        rows = (self.home / f".lume/out/{run['id']}.csv").read_text().split()[1:]
        assert len(rows) == 2, f"half a file: {run}"
        assert len(set(rows)) == 1
        return name_of(run), int(rows[0])

    async def check(self, wire: Wire) -> None:
        """All that is there now is submitted; nothing twice, and nothing that was never there."""
        with anyio.fail_after(120):
            while not self._is_done(await runs_of(wire)):
                await anyio.sleep(0.1)
        runs = await runs_of(wire)
        made = Counter(self.made_of(run) for run in runs if run["status"] == "SUCCEEDED")
        assert [one for one, times in made.items() if times > 1] == []
        assert made.keys() <= self.put
        times = Counter(name_of(run) for run in runs)
        contents = Counter(name for name, _ in self.put)
        assert [name for name in times if times[name] > contents[name]] == []
        for run in runs:
            if run["status"] != "SUCCEEDED":  # killed, or its file was renamed or replaced before it was read
                why = run["metadata"]["error_message"]
                assert "the server stopped" in why or "there is no " in why or "was changed" in why, run

    def _is_done(self, runs: list[dict[str, Any]]) -> bool:
        """Whether the latest run of each name, of all that have ended, has read what is there, or was killed."""
        if not all(run["finished_at"] for run in runs) or self.sender.left():
            return False
        latest = {name_of(run): run for run in reversed(runs)}
        return all(
            name in latest
            and (
                latest[name]["status"] == "CRASHED"
                or (latest[name]["status"] == "SUCCEEDED" and self.made_of(latest[name]) == (name, number))
            )
            for name, number in self.files.items()
        )


def name_of(run: dict[str, Any]) -> str:
    return str(run["source_path"]).rpartition("/")[2]


async def told(story: Story) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(story.go_on)
        kills = 0
        while kills < KILLS or story.is_writing:
            async with story.server() as (server, _):
                await anyio.sleep(story.dice.random() * 2)
                server.kill()
                await server.wait()
            kills += 1
    async with story.server() as (_, wire):
        await story.check(wire)
        (arrival,) = (await wire.ask("GET", "/v1/arrivals")).document["arrivals"]
        assert arrival["trouble"] is None


@pytest.mark.thorough
async def test_in_a_folder(tmp_path: Path) -> None:
    await told(Story(tmp_path, FileSender(tmp_path / "in", "in", str(tmp_path), lambda: None), 3))


@pytest.mark.thorough
async def test_on_an_sftp_server(tmp_path: Path, sftp_site: SftpSite) -> None:
    """Connections are cut, too."""

    def cut() -> None:
        sftp_site.signal_connections(signal.SIGKILL)

    folder = sftp_site.files / "in"
    await told(Story(tmp_path, FileSender(folder, f"{sftp_site.url}/in", sftp_site.root, cut), 1))


@pytest.mark.thorough
async def test_in_a_bucket_with_a_queue(tmp_path: Path, bucket: Bucket, queue: Queue) -> None:
    await told(Story(tmp_path, BucketSender(bucket, queue), 2))
