"""Data of a program that is cancelled while it is read: the call ends at once, nothing is pulled or left after it."""

import asyncio
import contextvars
import hashlib
import json
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from lume_async import Client, RunStatus
from lume_async._base.platform import IS_POSIX
from lume_async.errors import InvalidRequestError
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

FLOW_VERSION = Path(__file__).parents[2] / "contract/flow_version.json"
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Pieces:
    """Pieces of data, without end; the one after `free` comes when it is released."""

    def __init__(self, piece: Any, free: int) -> None:
        self.piece, self.free = piece, free
        self.pulled = 0
        self.closed = False
        self.thread: threading.Thread | None = None
        self.blocks, self.release = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self.thread = threading.current_thread()
        try:
            while True:
                self.pulled += 1
                if self.pulled > self.free:
                    self.blocks.set()
                    assert self.release.wait(20)
                yield self.piece
        finally:
            self.closed = True

    def file(self) -> Any:
        """A binary file, such as a pipe, with the same pieces."""
        pieces = iter(self)

        class File:
            def read(self, _size: int) -> bytes:
                piece: bytes = next(pieces)
                return piece

        return File()


def answer(request: FakeRequest) -> FakeAnswer:
    path = request.path
    if path.startswith("/v1/runs/"):
        return FakeAnswer(200, run_json("run_1", str(RunStatus.PARTIAL_FAILED)))
    if "/versions/" in path:
        return FakeAnswer(200, json.loads(FLOW_VERSION.read_text()) | {"definition": {}})
    raise AssertionError(f"{request.method} {path}: nothing is sent")


Call = Callable[[Client, Any], Awaitable[Any]]
DOORS: dict[str, Call] = {
    "run": lambda client, data: client.run("f:v1", data=data),
    "upload": lambda client, data: client.upload(data),
    "seeds": lambda client, data: client.run("f:v1", "s.csv", seeds={"seed": data}),
    "resubmit": lambda client, data: client.attach("run_1").resubmit(data),
}


async def ends(pieces: Pieces, temporary: Path, *, closed: bool = True) -> None:
    """Nothing is pulled any more and nothing is left, once the piece under way has come."""
    thread, pulled = pieces.thread, pieces.pulled
    assert thread is not None
    if IS_POSIX:  # elsewhere an open file can't be removed
        assert list(temporary.iterdir()) == []
    pieces.release.set()
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()
    assert pieces.pulled == pulled
    assert pieces.closed is closed
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("free", [0, 2])
@pytest.mark.parametrize("piece", [{"id": 1}, b"id\n"], ids=["rows", "bytes"])
@pytest.mark.parametrize("door", DOORS)
async def test_a_cancel_scope_ends_the_call_in_time(
    temporary: Path, door: str, piece: Any, free: int
) -> None:
    client, _ = fake_client(answer)
    pieces = Pieces(piece, free)
    async with asyncio.timeout(10):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(DOORS[door], client, iter(pieces))
                await asyncio.to_thread(pieces.blocks.wait, 5)
                scope.cancel()
        assert scope.cancelled_caught
    await ends(pieces, temporary)


@pytest.mark.parametrize("is_file", [False, True])
async def test_a_call_that_is_cancelled_twice(temporary: Path, is_file: bool) -> None:
    client, _ = fake_client(answer)
    pieces = Pieces(b"id\n", 2)
    data = pieces.file() if is_file else pieces
    call = asyncio.ensure_future(client.run("f:v1", data=data))
    await asyncio.to_thread(pieces.blocks.wait, 5)
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await call
    await ends(pieces, temporary, closed=not is_file)  # a file is its owner's


async def test_an_asynchronous_generator_is_closed_after_data_that_are_refused() -> None:
    client, _ = fake_client(answer)
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[Any]:
        try:
            yield b"id\n"
            yield "text"
        finally:
            closed.set()

    data = pieces()
    with pytest.raises(InvalidRequestError, match="must consist of bytes"):
        await client.run("f:v1", data=data)
    assert closed.is_set()


async def test_data_that_does_not_block_is_pulled_no_more(temporary: Path) -> None:
    client, _ = fake_client(answer)
    pieces = Pieces({"id": 1}, 10**9)
    with anyio.move_on_after(0.05) as scope:
        await client.run("f:v1", data=pieces)
    assert scope.cancelled_caught
    assert pieces.thread is not None
    await asyncio.to_thread(pieces.thread.join, 20)
    assert not pieces.thread.is_alive()
    assert list(temporary.iterdir()) == []


async def test_a_generator_runs_in_one_thread_and_in_the_callers_context() -> None:
    """What it holds may be bound to its thread."""
    seen = set()

    def rows() -> Iterator[dict[str, int]]:
        database = sqlite3.connect(":memory:")  # checks the thread
        try:
            for (number,) in database.execute("values (1), (2), (3)"):
                seen.add(variable.get())
                yield {"id": number}
        finally:
            database.close()

    def uploaded(request: FakeRequest) -> FakeAnswer:
        if request.path.startswith("/v1/uploads/"):
            bodies.append(request.body or b"")
            digest = hashlib.sha256(bodies[0]).hexdigest()
            return FakeAnswer(201, {"source_path": "upload://a", "bytes": len(bodies[0]), "sha256": digest})
        return answer(request)

    bodies: list[bytes] = []
    client, _ = fake_client(uploaded)
    variable.set("caller's")
    assert await client.upload(rows(), flow_version="f:v1") == "upload://a"
    assert bodies == [b"id\n1\n2\n3\n"]
    assert seen == {"caller's"}
