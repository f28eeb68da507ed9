"""Uploads over connections that break: they go on where the server has them, and arrive once and whole."""

import asyncio
import functools
import hashlib
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from faults.cutting import Cutter
from local.servers import Process, process

import lume_local
from lume_async import ApiConnectionError, ApiError, Backoff, Client, Retry
from lume_async._http.events import RetryScheduled
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

PIECE = 64 * 1024
SIZE = 16 * PIECE + 1234
HEAD = 2_000
"""More bytes than the head of a request has."""
SOON = Retry(attempts=4, backoff=Backoff(0.001, maximum=0.01))
OFTEN = Retry(attempts=200, backoff=Backoff(0.001, maximum=0.05))
"""For connections that are cut again and again: a loaded server notices a cut later than four quick attempts."""
CONTENT = random.Random(0).randbytes(SIZE)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "uploads"


@pytest.fixture(scope="module")
def server(staged: Path) -> Iterator[lume_local.ThreadedServer]:
    with lume_local.serve_in_thread(None, staged.parent, max_active=1) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(CONTENT)
    return path


@asynccontextmanager
async def client_of(server: lume_local.ThreadedServer, url: str, **options: Any) -> AsyncIterator[Client]:
    settings: dict[str, Any] = {"retry": SOON, "request_timeout": 20, **options}
    async with Client(server.api_key, base_url=url, proxy=False, **settings) as client:
        yield client


def noticed(staged: Path, at: int | None) -> Callable[[], Awaitable[None]]:
    """Waits until the server has kept what came before the first cut: a client may ask before it has noticed."""
    before = set(os.listdir(staged))
    enough = min(SIZE, SIZE if at is None else at) - HEAD

    async def wait() -> None:
        async with asyncio.timeout(20):
            while enough > max(
                (size_of(staged / name) for name in set(os.listdir(staged)) - before), default=0
            ):
                await asyncio.sleep(0.002)

    return wait


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it has just been completed
        return 0


def arrived(staged: Path, source: str) -> bytes:
    return (staged / source.removeprefix("upload://")).read_bytes()


async def test_every_connection_is_cut_after_64_kb(
    server: lume_local.ThreadedServer, staged: Path, file: Path
) -> None:
    seen: list[int] = []
    async with (
        Cutter(server.base_url, lambda number: PIECE + HEAD) as cutter,
        client_of(server, cutter.here, retry=OFTEN) as client,
    ):
        source = await client.upload(file, progress=lambda sent, total: seen.append(sent))

    assert arrived(staged, source) == CONTENT
    assert cutter.cuts >= SIZE // (PIECE + HEAD)
    assert seen[-1] == SIZE


LOST = {
    "the response to the whole file": (None, {0}),
    "the response to the rest": (5 * PIECE, {1}),
    "the offset": (5 * PIECE, {0}),
    "the offset, twice": (5 * PIECE, {0, 1}),
    "the offset after all has arrived": (None, {0, 1}),
    "the response that is fetched again": (None, {0, 2}),
    "all of these": (5 * PIECE, {0, 2, 3}),
}


@pytest.mark.parametrize("which", LOST)
async def test_a_response_is_lost_at_each_step(
    server: lume_local.ThreadedServer, staged: Path, file: Path, which: str
) -> None:
    first, lost = LOST[which]
    async with (
        Cutter(
            server.base_url,
            lambda number: None if number else first,
            lost.__contains__,
            noticed(staged, first),
        ) as cutter,
        client_of(server, cutter.here) as client,
    ):
        source = await client.upload(file)

    assert arrived(staged, source) == CONTENT
    assert cutter.passed < SIZE + 2 * PIECE + 6 * HEAD, "it is sent once"


async def test_attempts_in_vain_end_it(server: lume_local.ThreadedServer, staged: Path, file: Path) -> None:
    """The client's own policy: so many failures in a row that brought nothing."""
    before = set(staged.glob(".*.part"))
    scheduled: list[RetryScheduled] = []

    def note(event: object) -> None:
        if isinstance(event, RetryScheduled):
            scheduled.append(event)

    async with (
        Cutter(
            server.base_url,
            lambda number: 5 * PIECE if number == 0 else 10,
            on_cut=noticed(staged, 5 * PIECE),
        ) as cutter,
        client_of(server, cutter.here, hooks=[note]) as client,
    ):
        with pytest.raises(ApiConnectionError) as caught:
            await client.upload(file)

    assert caught.value.attempts == len(scheduled) + 1 == 4
    (draft,) = set(staged.glob(".*.part")) - before
    assert draft.stat().st_size >= 5 * PIECE - HEAD, "kept for a day"
    draft.unlink()


@pytest.mark.parametrize("how", ["written", "shorter", "removed"])
async def test_a_file_that_changes_between_two_attempts(
    server: lume_local.ThreadedServer, staged: Path, file: Path, how: str
) -> None:
    async def change() -> None:
        if how == "removed":
            file.unlink()
        elif how == "shorter":
            os.truncate(file, 10)
        else:
            file.write_bytes(CONTENT[::-1])
            os.utime(file, (1, 1))

    before = set(os.listdir(staged))
    async with (
        Cutter(server.base_url, lambda number: 3 * PIECE, on_cut=change) as cutter,
        client_of(server, cutter.here) as client,
    ):
        with pytest.raises(ApiError, match=r"'rows\.csv' was changed while it was sent") as caught:
            await client.upload(file)

    assert not caught.value.retryable
    assert cutter.connections == 1
    assert {name for name in os.listdir(staged) if not name.startswith(".")} <= before


async def test_progress_goes_back_only_to_what_the_server_has(
    server: lume_local.ThreadedServer, file: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    async with (
        Cutter(server.base_url, lambda number: 5 * PIECE) as cutter,
        client_of(server, cutter.here, retry=OFTEN) as client,
    ):
        await client.upload(file, progress=lambda *now: seen.append(now))

    back = [now for before, now in pairwise(seen) if now <= before]
    assert len(back) <= cutter.cuts
    assert {total for _, total in seen} == {SIZE}
    assert seen[-1] == (SIZE, SIZE)


async def test_two_clients_send_the_same_content_under_one_name(
    server: lume_local.ThreadedServer, staged: Path, file: Path
) -> None:
    from lume_async._run.upload import upload

    prefix = hashlib.sha256(CONTENT).hexdigest()[:32]
    async with (
        Cutter(server.base_url, lambda number: 4 * PIECE) as cutter,
        client_of(server, cutter.here, retry=OFTEN) as one,
        client_of(server, cutter.here, retry=OFTEN) as other,
    ):
        sources = await asyncio.gather(
            *(upload(client._sender, file, None, by_content=True) for client in (one, other))
        )
    assert len(set(sources)) == 1
    assert arrived(staged, sources[0]) == CONTENT
    assert [name for name in os.listdir(staged) if name.startswith(f".{prefix}")] == []


@pytest.mark.parametrize("at", [10, PIECE, 9 * PIECE, SIZE + 350, None])
async def test_the_server_is_killed(file: Path, tmp_path: Path, at: int | None) -> None:
    """At any byte, or (None) when it has answered: its successor goes on, and nobody sees a half of it."""
    (tmp_path / "flows").mkdir()
    staged = tmp_path / ".lume/uploads"
    async with KilledServer(tmp_path) as servers:
        most = functools.partial(lambda number: None if number else at)
        cutter = Cutter(servers.url, most, lambda number: at is None and number == 0, servers.restart)
        servers.cutter = cutter
        async with (
            cutter,
            Client("k" * 20, base_url=cutter.here, proxy=False, retry=SOON, request_timeout=20) as client,
        ):
            source = await client.upload(file)
        assert servers.killed == 1
        assert servers.visible == ([] if at is not None else [source.removeprefix("upload://")])
    assert arrived(staged, source) == CONTENT
    assert cutter.passed < SIZE + 2 * PIECE + 4 * HEAD, "what was written survives a kill"


class KilledServer:
    """A server that is killed and started again.

    Attributes:
        visible: the uploads that runs could see when it was killed.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._staged = home, home / ".lume/uploads"
        self.killed = 0
        self.visible: list[str] = []
        self.cutter: Cutter

    async def __aenter__(self) -> "KilledServer":
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.__aexit__(None, None, None)

    async def _start(self) -> None:
        self._running = process(self._home, api_key="k" * 20)
        server, wire = await self._running.__aenter__()
        self._server: Process = server
        assert wire.session._base_url is not None
        self.url = str(wire.session._base_url).rstrip("/")

    def _size(self, name: str) -> int:
        return os.stat(self._staged / name).st_size

    async def restart(self) -> None:
        """Kill it once it has noticed that the connection is gone, and start the next one."""
        sent = min(self.cutter.passed, SIZE) - HEAD
        async with asyncio.timeout(20):
            while sent > max(map(self._size, os.listdir(self._staged)), default=0):
                await asyncio.sleep(0.005)
        self._server.kill()
        await self._server.wait()
        self.killed += 1
        names = os.listdir(self._staged)
        self.visible = [name for name in names if not name.startswith(".")]
        await self.__aexit__()
        await self._start()
        self.cutter.url = self.url


class OtherPart:
    """A server that keeps a part of another content of this file, for some attempts to continue it."""

    def __init__(self, how: str, times: int, then: Callable[[], object] = lambda: None) -> None:
        self.how, self.times, self.then = how, times, then
        self.asked: list[str] = []

    def __call__(self, request: FakeRequest) -> FakeAnswer:
        self.asked.append(request.method)
        if request.method == "HEAD":
            return FakeAnswer(200, b"", {"Upload-Offset": "3", "Upload-Complete": "?0"})
        if request.method == "PUT" and self.times > self.asked.count("PATCH"):
            raise ApiConnectionError("cut")
        content = request.body or b""
        if request.method == "PATCH":
            self.then()
            if self.how != "it does not tell":
                problem = {"type": "urn:lume:problem:other-content", "title": self.how}
                return FakeAnswer(422 if self.how == "other content" else 400, problem)
            content = b"xxx" + content
        sha256 = hashlib.sha256(content).hexdigest()
        return FakeAnswer(201, {"source_path": "upload://rows", "bytes": len(content), "sha256": sha256})


@pytest.mark.parametrize("how", ["other content", "bad request", "it does not tell"])
async def test_a_part_of_other_content_is_sent_afresh_once(how: str, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(b"a,b\n1,2\n")
    client, transport = fake_client(server := OtherPart(how, 1))
    assert await client.upload(file) == "upload://rows"
    assert server.asked == ["PUT", "HEAD", "PATCH", "PUT"]
    assert transport.requests[-1].body == b"a,b\n1,2\n"


@pytest.mark.parametrize("how", ["other content", "it does not tell"])
async def test_two_parts_of_other_content_end_the_upload(how: str, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(b"a,b\n1,2\n")
    client, _ = fake_client(server := OtherPart(how, 2))
    with pytest.raises(ApiError, match="arrived changed" if how == "it does not tell" else how):
        await client.upload(file)
    assert server.asked == ["PUT", "HEAD", "PATCH", "PUT", "HEAD", "PATCH"]


async def test_a_file_that_was_changed_is_not_sent_afresh(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_bytes(b"a,b\n1,2\n")
    client, _ = fake_client(
        server := OtherPart("other content", 1, lambda: file.write_bytes(b"a,b\n1,2\n3,4\n"))
    )
    with pytest.raises(ApiError, match="was changed while it was sent"):
        await client.upload(file)
    assert server.asked == ["PUT", "HEAD", "PATCH"]
