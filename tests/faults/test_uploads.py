"""Uploads that end in the middle: every file is closed, and a file that changes under the hand is reported."""

import asyncio
import gc
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lume_async import ApiError, Client, InvalidRequestError, Retry
from lume_async._run.upload import CHUNK

ONE_ATTEMPT = Retry(attempts=1)


@asynccontextmanager
async def server(*, reads: int | None, status: str = "201 Created") -> AsyncIterator[str]:
    """Reads so many bytes of a body (None: all of it), answers and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(
            next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))[15:]
        )
        try:
            body = await reader.readexactly(length if reads is None else reads)
            digest = hashlib.sha256(body).hexdigest()
            answer = json.dumps({"source_path": "upload://x", "bytes": len(body), "sha256": digest})
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has given up
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def client_of(url: str, retry: Retry = ONE_ATTEMPT) -> Client:
    return Client("test-key", base_url=url, proxy=False, retry=retry, request_timeout=20)


def is_open(file: Path) -> bool:
    links = (f"/dev/fd/{fd}" for fd in os.listdir("/dev/fd"))
    return str(file) in {os.readlink(link) for link in links if os.path.lexists(link)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n" * (2 * CHUNK))
    return path


@pytest.mark.parametrize(
    ("reads", "status"),
    [(0, "413 Too Large"), (1, "500 Oops"), (CHUNK, "401 No"), (3 * CHUNK, "413 Too Large")],
)
async def test_a_file_is_closed_wherever_the_server_stops_reading(
    file: Path, reads: int, status: str
) -> None:
    async with server(reads=reads, status=status) as url, client_of(url) as client:
        for _ in range(2):
            with pytest.raises(ApiError):
                await client.upload_file(file)
            assert not is_open(file)
    gc.collect()  # an unclosed file is a warning, and so an error


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_file_is_closed_whenever_the_upload_is_cancelled(file: Path, turns: int) -> None:
    async with server(reads=None) as url, client_of(url) as client:
        upload = asyncio.create_task(client.upload_file(file))
        for _ in range(turns):
            await asyncio.sleep(0)
        upload.cancel()
        await asyncio.wait([upload])
        for _ in range(100):  # a thread may be in the middle of opening it
            if not is_open(file):
                break
            await asyncio.sleep(0.01)
        assert not is_open(file)


async def test_a_file_that_becomes_shorter_ends_the_upload(file: Path) -> None:
    size = file.stat().st_size

    async def cut() -> None:
        while not is_open(file):
            await asyncio.sleep(0)
        os.truncate(file, 10)

    async with server(reads=None) as url, client_of(url, Retry(attempts=3)) as client:
        cutting = asyncio.create_task(cut())
        with pytest.raises(ApiError, match=r"'rows\.csv' was changed while it was sent") as caught:
            await asyncio.wait_for(client.upload_file(file), 20)
        await cutting
    assert size > 10
    assert not caught.value.retryable
    assert not is_open(file)


async def test_a_file_that_grows_is_reported(file: Path) -> None:
    async def grow() -> None:
        while not is_open(file):
            await asyncio.sleep(0)
        with file.open("ab") as more:
            more.write(b"late\n")

    async with server(reads=None) as url, client_of(url) as client:
        growing = asyncio.create_task(grow())
        with pytest.raises(ApiError, match="was written to"):
            await client.upload_file(file)
        await growing


async def test_a_name_of_several_lines_is_one_line_of_a_message(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await client_of("http://127.0.0.1:9").upload_file(tmp_path / "a\nb.csv")

    assert "\n" not in str(caught.value)
    assert r"a\nb.csv" in str(caught.value)
