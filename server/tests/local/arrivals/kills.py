"""A server that is killed at random instants while files arrive, and what must have come of them."""

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b, md5, sha256
from pathlib import Path

from local.servers import Process, process
from local.wire import Wire
from moto_server import BUCKET, Bucket

from lume_local._runs.store.arrived import place_of
from lume_local._shared.identity import hash_of

FLOW = """
flow = "orders"
version = "v1"
[columns.no]
type = "integer"
required = true
"""
FOLDERS = """
[[arrival]]
name = "still"
flow = "orders"
from = "still/*.csv"
ready = { quiet = "400ms" }
changed = "rerun"

[[arrival]]
name = "marked"
flow = "orders"
from = "marked/**/*.csv"
ready = { marker = "{path}.done" }
changed = "rerun"
after = { move = "done/" }
"""
OBJECTS = f"""
[[arrival]]
name = "objects"
flow = "orders"
from = "s3://{BUCKET}/in/*.csv"
changed = "rerun"
after = {{ move = "done/" }}
"""
QUIET = 0.4


class Folders:
    """Files of two folders, written as programs do it. Each content has a number of its own.

    Attributes:
        final: what is there in the end, by path: it must be submitted.
        allowed: what was there for a while, complete as far as the server can tell.
    """

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.random, self.numbers = home, random.Random(seed), 0
        self.final: dict[str, bytes] = {}
        self.allowed: set[tuple[str, bytes]] = set()
        for name in ("still", "marked/deep"):
            (home / name).mkdir(parents=True)

    def content(self) -> bytes:
        self.numbers += 1
        return f"no\n{self.numbers}\n".encode()

    async def write(self, number: int) -> None:
        """One file, in one of the ways."""
        ways = [self.renamed, self.in_pieces, self.replaced, self.marked, self.marked, self.given_up]
        await self.random.choice(ways)(number)

    def _is(self, path: str, content: bytes) -> None:
        self.final[path] = content
        self.allowed.add((path, content))

    async def renamed(self, number: int) -> None:
        path, content = f"still/{number}.csv", self.content()
        draft = self.home / f"still/.{number}.draft"
        draft.write_bytes(content)
        os.replace(draft, self.home / path)
        self._is(path, content)

    async def in_pieces(self, number: int) -> None:
        """A pause of the writer that is too long makes a piece look complete."""
        path, content = f"still/{number}.csv", self.content()
        clock = asyncio.get_running_loop().time
        with (self.home / path).open("wb", buffering=0) as file:
            for at in range(len(content)):
                began = clock()
                file.write(content[at : at + 1])
                await asyncio.sleep(self.random.random() * 0.05)
                if clock() - began > QUIET / 2:
                    self.allowed.add((path, content[: at + 1]))
        self._is(path, content)

    async def replaced(self, number: int) -> None:
        await self.renamed(number)
        await asyncio.sleep(self.random.random() * 2 * QUIET)
        await self.renamed(number)

    async def given_up(self, number: int) -> None:
        """Under a name that doesn't match, or renamed before it is ready; another one is there then."""
        (self.home / f"still/{number}.part").write_bytes(b"no\n")
        (self.home / f"still/{number}x.csv").write_bytes(content := self.content())
        os.replace(self.home / f"still/{number}x.csv", self.home / f"still/{number}.csv")
        self.allowed.add((f"still/{number}x.csv", content))
        self._is(f"still/{number}.csv", content)

    async def marked(self, number: int) -> None:
        """Written in pieces that take long; the marker comes last."""
        path, content = f"marked/{self.random.choice(['', 'deep/'])}{number}.csv", self.content()
        with (self.home / path).open("wb", buffering=0) as file:
            for piece in (content[:3], content[3:]):
                file.write(piece)
                await asyncio.sleep(self.random.random() * 0.2)
        (self.home / f"{path}.done").touch()
        self._is(path, content)

    def identified(self, content: bytes) -> bytes:
        """As the server identifies a content."""
        return blake2b(sha256(content).digest(), digest_size=16).digest()

    def check_files(self, processed: set[str]) -> None:
        """Nothing is lost: each file is where it was, or moved once it was processed."""
        for path, content in self.final.items():
            here, there = self.home / path, self.home / path.replace("marked/", "marked/done/", 1)
            if path.startswith("marked/") and path in processed:
                assert not here.exists()
                assert there.read_bytes() == content
            else:
                assert here.read_bytes() == content
        assert not list((self.home / "marked").rglob("*.lume"))


def arrived(home: Path) -> dict[tuple[bytes, bytes], int | None]:
    """What the state knows: the runs by place and content."""
    query = "SELECT place, content, run FROM arrived"
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db:
        return {(place, content): run for place, content, run in db.execute(query)}


def runs(home: Path) -> dict[int, tuple[str, str, str]]:
    """The arrival, path and status of each run that a file has arrived for."""
    query = (
        "SELECT seq, substr(submitted_by, 9), source_path, status FROM runs "
        "WHERE submitted_by LIKE 'arrival:%' ORDER BY seq"
    )
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db:
        return {seq: (name, path, status) for seq, name, path, status in db.execute(query)}


async def until_quiet(wire: Wire, expected: Callable[[], bool]) -> None:
    """Until nothing waits, everything expected is known, and all runs have ended."""
    async with asyncio.timeout(300):
        while True:
            answer = await wire.ask("GET", "/v1/arrivals?limit=1")
            assert answer.status == 200, answer.document
            server = (await wire.ask("GET", "/v1/server")).document["runs"]
            waits = any((one["waiting"], one["trouble"]) != (0, None) for one in answer.document["arrivals"])
            if not (waits or any(server.values())) and expected():
                return
            await asyncio.sleep(0.05)


async def killed_while_objects_arrive(
    home: Path, bucket: Bucket, seed: int, files: int, kills: int, *, forked: bool = True
) -> None:
    """The same on a bucket: objects are put there and replaced."""
    (home / "flows").mkdir()
    (home / "flows/orders.v1.toml").write_text(FLOW)
    (home / "arrivals.toml").write_text(OBJECTS)
    chance, numbers, final = random.Random(seed), 0, dict[str, bytes]()
    ever: set[bytes] = set()
    options = {
        "arrivals": str(home / "arrivals.toml"),
        "roots": [str(home), f"s3://{BUCKET}"],
        "forked": forked,
    }

    def put_some(left: range) -> None:
        nonlocal numbers
        for number in left:
            for _ in range(chance.choice([1, 1, 2])):
                numbers += 1
                final[f"in/{number}.csv"] = f"no\n{numbers}\n".encode()
                ever.add(final[f"in/{number}.csv"])
                bucket.put(f"in/{number}.csv", final[f"in/{number}.csv"])
                time.sleep(chance.random() * 0.1)

    written = 0
    for kill in range(kills):
        async with process(home, **options) as (server, _):
            share = range(written, files * (kill + 1) // kills)
            writer = asyncio.create_task(asyncio.to_thread(put_some, share))
            await asyncio.sleep(chance.random() * 1.5)
            await kill_now(server)
            await writer
            written = share.stop
    required = {
        (place_of("objects", f"s3://{BUCKET}/{key}"), tagged(content)) for key, content in final.items()
    }
    async with process(home, **options) as (server, wire):
        await until_quiet(wire, lambda: required <= set(arrived(home)))
        await kill_now(server)
    check(home, required, {(place, tagged(content)) for place, _ in required for content in ever})
    there = {key: bucket.get(key) for key in bucket.names()}
    for key, content in final.items():
        assert content in (there.get(key), there.get(key.replace("in/", "in/done/", 1))), "nothing is lost"


def tagged(content: bytes) -> bytes:
    """As the server identifies the content of an object: by its size and its tag."""
    seen = f"{len(content)}-{md5(content, usedforsecurity=False).hexdigest()}"
    return blake2b(hash_of([seen]).encode(), digest_size=16).digest()


async def killed_while_files_arrive(
    home: Path, seed: int, files: int, kills: int, *, forked: bool = True
) -> None:
    """The test itself, on local folders."""
    (home / "flows").mkdir()
    (home / "flows/orders.v1.toml").write_text(FLOW)
    (home / "arrivals.toml").write_text(FOLDERS)
    folders, chance = Folders(home, seed), random.Random(seed)
    options = {"arrivals": str(home / "arrivals.toml"), "forked": forked}

    async def write_all(left: range) -> None:
        for number in left:
            await folders.write(number)

    written = 0
    for kill in range(kills):
        async with process(home, **options) as (server, _):
            share = range(written, files * (kill + 1) // kills)
            writers = [asyncio.create_task(write_all(share[n::4])) for n in range(4)]
            await asyncio.sleep(chance.random() * 1.5)
            await kill_now(server)
            await asyncio.gather(*writers)
            written = share.stop
    required = {
        (place_of(path.partition("/")[0], path), folders.identified(content))
        for path, content in folders.final.items()
    }
    async with process(home, **options) as (server, wire):
        await until_quiet(wire, lambda: required <= set(arrived(home)))
        await until_quiet(wire, lambda: folders_are_done(folders, home))
        await kill_now(server)
    check(
        home,
        required,
        {(place_of(p.partition("/")[0], p), folders.identified(c)) for p, c in folders.allowed},
    )
    folders.check_files(processed(home))


def processed(home: Path) -> set[str]:
    """The paths whose latest run has an output."""
    last = {path: status for _, path, status in runs(home).values()}
    return {path for path, status in last.items() if status in ("SUCCEEDED", "PARTIAL_FAILED")}


def folders_are_done(folders: Folders, home: Path) -> bool:
    return not any((home / path).exists() for path in processed(home) if path.startswith("marked/"))


def check(home: Path, required: set[tuple[bytes, bytes]], allowed: set[tuple[bytes, bytes]]) -> None:
    """Runs are the distinct contents."""
    known, submitted = arrived(home), runs(home)
    assert required <= set(known) <= allowed
    of_runs = {(place, run) for (place, _), run in known.items()}
    assert len(of_runs) == len({run for _, run in of_runs}), "a run may have read a later content of its path"
    latest = {(name, path): run for run, (name, path, _) in submitted.items()}
    # Without output, the next run of the path takes its files over.
    taken_over = {
        run
        for run, (name, path, status) in submitted.items()
        if status in ("CRASHED", "FAILED") and run < latest[name, path]
    }
    assert set(known.values()) <= set(submitted) <= set(known.values()) | taken_over, (
        "no content has two runs"
    )
    print(f"{len(known)} contents, {Counter(status for *_, status in submitted.values())}")


async def kill_now(server: Process) -> None:
    """Between any two steps."""
    server.send_signal(signal.SIGKILL)
    await server.wait()
