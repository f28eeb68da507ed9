"""The scripted server does what its script says, seen from a plain socket."""

import asyncio
import contextlib
import gzip
import json

import pytest
from loopback import (
    Loopback,
    Script,
    Step,
    bomb,
    endless,
    forever,
    gone,
    gzipped,
    hang_up,
    html_502,
    redirect,
    reply,
    reset,
    throttled,
)

GET = b"GET /v1/runs/r?limit=1 HTTP/1.1\r\nHost: x\r\nlume-api-key: k\r\n\r\n"


class Wire:
    """One connection of a client that knows nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes = GET) -> bytes:
        """Everything up to the end of the answer, for answers with a Content-Length."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
        return head + await self.reader.readexactly(length)

    async def ask_all(self, request: bytes = GET) -> bytes:
        """Everything up to the end of the connection."""
        self.writer.write(request)
        return await self.reader.read()


@contextlib.asynccontextmanager
async def wire(server: Loopback):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def answer_to(step: Step, request: bytes = GET) -> bytes:
    async with Loopback([step]) as server, wire(server) as connection:
        return await connection.ask_all(request)


async def test_answers_in_sequence_and_records_what_arrived() -> None:
    async with Loopback([reply(201, {"id": "r"}), reply(200, "two")]) as server, wire(server) as connection:
        first = await connection.ask(b"POST /v1/runs HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        second = await connection.ask()

    assert first.startswith(b"HTTP/1.1 201 Created\r\n")
    assert json.loads(first.split(b"\r\n\r\n")[1]) == {"id": "r"}
    assert second.endswith(b"\r\n\r\ntwo")
    post, get = server.requests
    assert (post.method, post.path, post.json(), post.connection) == ("POST", "/v1/runs", {}, 1)
    assert (get.path, get.query, get.headers["lume-api-key"]) == ("/v1/runs/r", {"limit": "1"}, "k")
    assert get.at >= post.at
    assert (server.count("GET"), server.count("POST", "/v1/runs"), server.connections) == (1, 1, 1)


async def test_reads_a_chunked_request() -> None:
    request = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with Loopback([reply(204, keep_alive=False)]) as server, wire(server) as connection:
        answer = await connection.ask_all(request)

    assert server.requests[0].body == b"abcde"
    assert b"Content-Length" not in answer


async def test_a_function_chooses_by_the_request() -> None:
    script: Script = lambda request: reply(200, request.path)  # noqa: E731
    async with Loopback(script) as server, wire(server) as connection:
        assert (await connection.ask()).endswith(b"/v1/runs/r")


async def test_forever_answers_every_further_request() -> None:
    async with Loopback([reply(500), forever(reply(200, "ok"))]) as server, wire(server) as connection:
        answers = [await connection.ask() for _ in range(4)]

    assert [a.split()[1] for a in answers] == [b"500", b"200", b"200", b"200"]


async def test_an_unforeseen_request_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="does not foresee"):
        async with Loopback([]) as server, wire(server) as connection:
            assert await connection.ask_all() == b""


async def test_refuses_until_it_accepts() -> None:
    async with Loopback([reply(200, "up")], refusing=True) as server:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        await server.accept()
        async with wire(server) as connection:
            assert (await connection.ask()).endswith(b"up")
        await server.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)


async def test_gone_resets_and_refuses_from_then_on() -> None:
    async with Loopback([gone(), reply(200, "back")]) as server:
        async with wire(server) as connection:
            with pytest.raises(ConnectionResetError):
                await connection.ask_all()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        await server.accept()
        async with wire(server) as connection:
            assert (await connection.ask()).endswith(b"back")


@pytest.mark.parametrize("moment", ["connect", "first byte", "request"])
async def test_resets_before_and_after_it_read_the_request(moment) -> None:
    async with Loopback([reset(moment)]) as server, wire(server) as connection:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await connection.ask_all()
        await server.all_closed()

    assert len(server.requests) == (moment == "request")


async def test_drops_a_kept_connection_when_the_next_request_begins() -> None:
    async with Loopback([reply(200), hang_up("first byte"), reply(200, "again")]) as server:
        async with wire(server) as connection:
            await connection.ask()
            with contextlib.suppress(ConnectionResetError):  # the rest of the request was never read
                assert await connection.ask_all() == b""
        async with wire(server) as connection:
            assert (await connection.ask()).endswith(b"again")

    assert [r.connection for r in server.requests] == [1, 2]


WHOLE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a": 11}'
CHUNKS = b'5\r\n{"a":\r\n4\r\n 11}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    ("framing", "place", "ending"),
    [
        ("length", 0, b""),
        ("length", 12, b"HTTP/1.1 200"),
        ("length", "headers", WHOLE[: len(WHOLE[:-9]) // 2]),
        ("length", "body", WHOLE[:-5]),
        ("chunked", "chunk", b"\r\n\r\n5\r\n{"),
        ("chunked", "last chunk", CHUNKS[:-5]),
    ],
)
async def test_cuts_the_answer_anywhere(framing, place, ending) -> None:
    answer = await answer_to(reply(200, {"a": 11}, framing=framing).cut(place))

    assert answer.endswith(ending) if ending else answer == b""


async def test_cuts_the_answer_with_a_reset() -> None:
    with pytest.raises(ConnectionResetError):
        await answer_to(reply(200, {"a": 11}).cut("body", "reset"))


async def test_chunked_answers_are_well_formed() -> None:
    assert (await answer_to(reply(200, {"a": 11}, framing="chunked", keep_alive=False))).endswith(CHUNKS)


async def test_a_length_that_lies() -> None:
    assert b"Content-Length: 100\r\n" in await answer_to(reply(200, "short").lying(100))


async def test_an_answer_ended_by_the_connection() -> None:
    answer = await answer_to(reply(200, "all", framing="until close"))

    assert answer.endswith(b"\r\n\r\nall")
    assert b"Content-Length" not in answer


async def test_stalls_until_released() -> None:
    async with Loopback([reply(200, "late").stall("body")]) as server, wire(server) as connection:
        asking = asyncio.ensure_future(connection.ask())
        await server.received(1)
        assert not asking.done()
        server.release()
        assert (await asking).endswith(b"late")


async def test_notices_that_a_client_left_a_stalled_answer() -> None:
    async with Loopback([reply(200).stall()]) as server:
        async with wire(server) as connection:
            connection.writer.write(GET)
            await server.received(1)
            assert server.open_connections == 1
        await server.all_closed()


async def test_drips_a_byte_at_a_time() -> None:
    async with Loopback([reply(200, "drip").drip(0.001)]) as server, wire(server) as connection:
        assert (await connection.ask()).endswith(b"drip")


async def test_bodies_that_are_no_json() -> None:
    assert b"text/html" in await answer_to(html_502(keep_alive=False))
    assert (await answer_to(reply(200, keep_alive=False))).endswith(
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_small_on_the_wire(encoding) -> None:
    packed = bomb(encoding, size=1024 * 1024)

    assert len(packed.body) < 3_000
    if encoding == "gzip":
        assert len(gzip.decompress(packed.body)) == 1024 * 1024


async def test_gzips_an_answer() -> None:
    async with Loopback([gzipped(reply(200, "text"))]) as server, wire(server) as connection:
        assert gzip.decompress((await connection.ask()).split(b"\r\n\r\n", 1)[1]) == b"text"


async def test_an_endless_answer_goes_on_until_the_client_leaves() -> None:
    async with Loopback([endless()]) as server:
        async with wire(server) as connection:
            connection.writer.write(GET)
            await connection.reader.readexactly(1_000_000)
        await server.all_closed()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects(status) -> None:
    async with Loopback([redirect(status, "http://localhost/x")]) as server, wire(server) as connection:
        assert b"\r\nLocation: http://localhost/x\r\n" in await connection.ask()


async def test_headers_may_repeat_and_throttling_may_be_dated() -> None:
    cookies = reply(200, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    date = "Thu, 01 Jan 1970 00:00:00 GMT"
    async with Loopback([cookies, throttled("7", 503, date=date)]) as server, wire(server) as connection:
        assert (await connection.ask()).count(b"Set-Cookie: ") == 2
        busy = await connection.ask()

    assert b"Retry-After: 7\r\n" in busy
    assert f"Date: {date}\r\n".encode() in busy
