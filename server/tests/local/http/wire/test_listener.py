"""Connections that send nothing, half of a request, or too slowly; and too many of them."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from local.wire import Wire

import lume_local
from lume_local._http import front, listener

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def connection(
    server: lume_local.Server,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The head of an answer, its body read."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    await reader.readexactly(int(length.split(b":")[1]))
    return head


async def test_half_a_head_is_not_waited_for(
    server: lume_local.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (b"", b"GET /hea", GET[:-2]):
        monkeypatch.setattr(listener, "HEAD_LIMIT", 0.1)
        async with connection(server) as (reader, writer):
            writer.write(part)
            assert await reader.read() == b"", part


async def test_a_malformed_head_is_not_repeated(
    server: lume_local.Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold the key, and an answer may end up in a log."""
    for head in (
        b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nlume-api-key: KEY\x00\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nlume-api-key KEY\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nHost: x\r\n lume-api-key: KEY\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nlume api key: KEY\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nlume-api-key: KEY" + b"x" * 10_000 + b"\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nKEY" + b"x" * 10_000 + b": a\r\n\r\n",
        b"GET /v1/runs?KEY=" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /KEY\x7f\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"KEY / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/KEY\r\nHost: x\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: KEY\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nKEY\r\n",
    ):
        async with connection(server) as (reader, writer):
            writer.write(head.replace(b"KEY", server.api_key.encode()))
            answered = await reader.read()
        assert answered.split()[1] in (b"400", b"401", b"404", b"405"), answered
        assert server.api_key.encode() not in answered
        assert server.api_key not in caplog.text


async def test_a_body_with_two_lengths_is_refused(server: lume_local.Server) -> None:
    """A proxy in front may take the other one, and the rest for another request (request smuggling)."""
    for lengths in (
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
    ):
        head = f"POST /v1/runs HTTP/1.1\r\nHost: x\r\nlume-api-key: {server.api_key}\r\n{lengths}\r\n\r\n"
        async with connection(server) as (reader, writer):
            writer.write(head.encode() + b"{}0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answered = await reader.read()
        assert answered.split()[1] == b"400", lengths
        assert answered.count(b"X-Request-Id:") == 1


async def test_half_a_second_head_is_not_waited_for_either(
    server: lume_local.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connection(server) as (reader, writer):
        writer.write(GET)
        assert b" 200 " in await answer(reader)
        monkeypatch.setattr(listener, "HEAD_LIMIT", 0.1)
        writer.write(GET[:-2])
        assert await reader.read() == b""


async def test_a_connection_may_wait_between_requests_and_for_answers(
    server: lume_local.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_LIMIT", 0.1)
    wait = (
        f"GET /v1/changes HTTP/1.1\r\nHost: x\r\nlume-api-key: {server.api_key}\r\nPrefer: wait=1\r\n\r\n"
    ).encode()
    async with connection(server) as (reader, writer):
        for request in (GET, wait, GET):
            writer.write(request)
            assert b" 200 " in await answer(reader)
            await asyncio.sleep(0.2)


@pytest.mark.parametrize(("reads", "before"), [(1, 0), (2, 1), (3, 0)])
async def test_a_request_whose_body_has_come_with_its_head_may_take_longer(
    server: lume_local.Server, monkeypatch: pytest.MonkeyPatch, reads: int, before: int
) -> None:
    """The loop may read a socket several times before the request's task begins, on Python 3.11 for one."""
    received, handled = listener._Connection.data_received, front.Front.handle

    def in_parts(connection: listener._Connection, data: bytes) -> None:
        head, end, body = data.partition(b"\r\n\r\n")
        for part in ([data], [head + end, body], [head + end, body[:1], body[1:]])[reads - 1]:
            received(connection, part)

    async def slow(answers: front.Front, request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.3 if request.method == "POST" else 0)  # three times the limit of a head
        return await handled(answers, request)

    monkeypatch.setattr(front.Front, "handle", slow)
    monkeypatch.setattr(listener, "HEAD_LIMIT", 0.1)
    monkeypatch.setattr(listener._Connection, "data_received", in_parts)
    head = f"POST /v1/runs HTTP/1.1\r\nHost: x\r\nlume-api-key: {server.api_key}\r\n"
    async with connection(server) as (reader, writer):
        for _ in range(before):
            writer.write(GET)
            assert b" 200 " in await answer(reader)
        writer.write(f"{head}Content-Length: 2\r\n\r\n".encode() + b"{}")
        assert b" 422 " in await answer(reader)
        writer.write(GET[:-2])
        assert await reader.read() == b"", "half of the next head is not waited for"


async def test_half_a_body_is_not_waited_for(
    server: lume_local.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "BODY_LIMIT", 0.1)
    monkeypatch.setattr(front, "CHUNK_LIMIT", 0.1)
    for line in (b"POST /v1/runs", b"PUT /v1/uploads/a.csv"):
        head = (
            line
            + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nlume-api-key: "
            + server.api_key.encode()
            + b"\r\n\r\n"
        )
        async with connection(server) as (reader, writer):
            writer.write(head + b"{")
            assert b" 408 " in await answer(reader)


async def test_only_so_many_connections(
    server: lume_local.Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 2)
    async with connection(server) as first, connection(server) as second, connection(server) as third:
        assert await third[0].read() == b""
        for reader, writer in (first, second):
            writer.write(GET)
            assert b" 200 " in await answer(reader)
    async with asyncio.timeout(20):
        while True:
            async with connection(server) as (reader, writer):
                writer.write(GET)
                if await reader.read(20):
                    return


def test_connections_leave_files_to_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in ((1024, 924), (150, 75), (resource.RLIM_INFINITY, 12_000), (1_000_000, 12_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert listener._most_connections() == expected
