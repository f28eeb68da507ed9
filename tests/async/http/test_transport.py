"""One attempt over real sockets: sizes, encodings, cookies, loops, closing."""

import asyncio
import gc
import gzip
import os
import ssl
import threading
import weakref
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from loopback import Loopback, Request, bomb, endless, forever, gzipped, reply
from loopback_steps import Reply

from lume_async import (
    ApiConnectionError,
    Client,
    ClientClosedError,
    ConfigurationError,
    ResponseDecodeError,
)
from lume_async._http.settings import settings
from lume_async._http.transport import AiohttpTransport, _Paced
from lume_async._wire.call import Response

MIB = 1024 * 1024
JSON = b'{"a": "\xc3\xbc"}'


def transport_to(url: str, **changes: Any) -> AiohttpTransport:
    options = {
        "base_url": url,
        "request_timeout": 10,
        "max_connections": 10,
        "max_response_bytes": MIB,
        "proxy": False,
        "ssl": None,
        "user_agent": None,
    } | changes
    return AiohttpTransport(settings("test-key", **options))


async def answered(script: Any) -> Response:
    async with Loopback(script) as server:
        transport = transport_to(server.url)
        try:
            return await transport.request("GET", "/v1/x", headers={"X-A": "b"}, body=None, timeout=10)
        finally:
            await transport.aclose()


# What is sent


async def test_a_request_on_the_wire() -> None:
    async with Loopback([reply(200, JSON)]) as server:
        transport = transport_to(f"{server.url}/base")
        answer = await transport.request(
            "POST", "/v1/runs", headers={"Content-Type": "application/json"}, body=b"{}", timeout=10
        )
        await transport.aclose()

    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/base/v1/runs", b"{}")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip, deflate"
    assert request.headers["user-agent"].startswith("lume-client/")
    assert (answer.status, answer.body) == (200, JSON)
    assert answer.headers["content-type"] == answer.headers["CONTENT-TYPE"]


async def test_a_path_is_sent_as_it_is() -> None:
    async with Loopback([reply()]) as server:
        transport = transport_to(server.url)
        await transport.request("GET", "/v1/runs?source_path=a%2Fb+c", headers={}, body=None, timeout=10)
        await transport.aclose()

    assert server.requests[0].target == "/v1/runs?source_path=a%2Fb+c"


def forever_ok() -> list[Any]:
    return [forever(reply(200, JSON))]


# What comes back


@pytest.mark.parametrize(
    "step",
    [
        reply(200, JSON),
        reply(200, JSON, framing="chunked"),
        reply(200, JSON, framing="until close"),
        gzipped(reply(200, JSON)),
        reply(200, gzip.compress(JSON), headers={"Content-Encoding": "GZIP"}),
        reply(200, zlib.compress(JSON), headers={"Content-Encoding": "deflate"}),
        reply(200, gzip.compress(JSON), headers={"Content-Encoding": "gzip"}, framing="chunked"),
        reply(200, JSON, headers={"Content-Encoding": "identity"}),
    ],
)
async def test_bodies_arrive_whole(step: Any) -> None:
    assert (await answered([step])).body == JSON


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 500, 599])
async def test_any_status_is_an_answer(status: int) -> None:
    body = b"" if status in (204, 304) else b"text"

    answer = await answered([reply(status, body, reason="Odd")])

    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("size", [MIB - 1, MIB])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("zipped", [False, True])
async def test_what_is_as_large_as_allowed_is_read(size: int, framing: Any, zipped: bool) -> None:
    step = reply(200, b"x" * size, framing=framing)

    assert len((await answered([gzipped(step) if zipped else step])).body) == size


@pytest.mark.parametrize(
    "step",
    [
        reply(200, b"x" * (MIB + 1)),
        reply(200, b"x" * (MIB + 1), framing="chunked"),
        reply(200, b"x" * (MIB + 1), framing="until close"),
        gzipped(reply(200, b"x" * (MIB + 1))),
        partial(bomb, "gzip", 64 * MIB),  # made where it is needed: it takes a while
        partial(bomb, "deflate", 64 * MIB),
        endless(),
    ],
    ids=["length", "chunked", "until close", "gzip", "gzip bomb", "deflate bomb", "endless"],
)
async def test_what_is_larger_is_dropped_and_not_asked_for_again(step: Any) -> None:
    with pytest.raises(ResponseDecodeError, match=r"larger than max_response_bytes=1,048,576") as caught:
        await answered([step() if callable(step) else step])

    assert not caught.value.retryable
    assert caught.value.status_code == 200
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "step",
    [
        reply(502, b"no gzip", headers={"Content-Encoding": "gzip"}),
        reply(502, b"x" * 1_000).cut(500),
    ],
    ids=["wrong encoding", "cut"],
)
async def test_an_errors_body_that_can_not_be_read_is_left_out(step: Any) -> None:
    answer = await answered([step])

    assert (answer.status, answer.body) == (502, b"")


@pytest.mark.parametrize("encoding", ["br", "zstd", "x-unknown", "gzip, gzip"])
async def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(ResponseDecodeError, match="which was not requested"):
        await answered([reply(200, b"?", headers={"Content-Encoding": encoding})])


async def test_a_body_that_is_not_what_its_encoding_says() -> None:
    with pytest.raises(ResponseDecodeError, match="does not match its Content-Encoding") as caught:
        await answered([reply(200, JSON, headers={"Content-Encoding": "gzip"})])

    assert caught.value.retryable


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_compressed_body_that_was_cut_is_no_whole_answer(framing: Any) -> None:
    cut = gzip.compress(os.urandom(1_000))[:-50]

    with pytest.raises(ApiConnectionError) as caught:
        await answered([reply(200, cut, headers={"Content-Encoding": "gzip"}, framing=framing)])

    assert caught.value.reached


@pytest.mark.parametrize("url", ["http://a..b", "http://127.1:80"])
async def test_a_host_that_can_not_be_one_never_reached_anybody(url: str) -> None:
    transport = transport_to("http://x")
    transport._base = url  # as if the settings had let it through
    refused = "not a valid host name|Cannot connect"  # the second by a yarl that takes 127.1 for a name
    with pytest.raises(ApiConnectionError, match=refused) as caught:
        await transport.request("POST", "/v1/runs", headers={}, body=b"{}", timeout=10)
    await transport.aclose()
    assert not caught.value.reached


# Cookies


async def test_cookies_are_ignored() -> None:
    script = [reply(headers={"Set-Cookie": "session=1; Path=/"}), reply()]
    async with Loopback(script) as server:
        # The usual cookie jar ignores hosts that are addresses: only a name shows anything.
        transport = transport_to(server.url.replace("127.0.0.1", "localhost"))
        for _ in script:
            await transport.request("GET", "/", headers={}, body=None, timeout=10)
        await transport.aclose()

    assert "cookie" not in server.requests[1].headers


# Certificates


async def test_a_ca_file_without_certificates_is_a_wrong_setting(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificates")
    transport = transport_to("https://127.0.0.1:1", ssl=file)

    with pytest.raises(ConfigurationError, match="no certificates in"):
        await transport.request("GET", "/", headers={}, body=None, timeout=10)


class Deaf:
    """Accepts connections and says the same to everybody, whatever they ask for; nothing by default."""

    def __init__(self, says: bytes = b"") -> None:
        self._says = says

    async def __aenter__(self) -> "Deaf":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._over = asyncio.Event()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._over.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._says)
        if not self._says:
            await self._over.wait()
        writer.close()


@pytest.mark.parametrize(
    ("given", "variable", "named"),
    [
        (None, None, "the system's"),
        (None, "/nowhere/ca.pem", "/nowhere/ca.pem"),
        (ssl.create_default_context(), "/nowhere/ca.pem", "the ssl= context"),
    ],
)
async def test_a_failed_handshake_names_the_trust_store_and_reached_nobody(
    given: Any, variable: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if variable:
        monkeypatch.setenv("SSL_CERT_FILE", variable)
    async with Deaf(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        transport = transport_to(f"https://127.0.0.1:{server.port}", ssl=given)
        with pytest.raises(ApiConnectionError) as caught:
            await transport.request("GET", "/", headers={}, body=None, timeout=10)
        await transport.aclose()

    assert f"(trust store: {named})" in str(caught.value)
    assert not caught.value.reached


# Loops, threads, closing


async def test_a_closed_transport_refuses() -> None:
    transport = transport_to("http://127.0.0.1:1")
    await transport.aclose()
    await transport.aclose()

    with pytest.raises(ClientClosedError):
        await transport.request("GET", "/", headers={}, body=None, timeout=10)


async def test_two_may_close_at_the_same_time() -> None:
    async with Loopback(forever_ok()) as server:
        transport = transport_to(server.url)
        await transport.request("GET", "/", headers={}, body=None, timeout=10)
        await asyncio.gather(transport.aclose(), transport.aclose())
        await transport.aclose()


@pytest.mark.parametrize(
    "answer",
    [reply(200, {"some": "body"}), reply(200, {"some": "body"}, framing="chunked"), gzipped(reply(200, {}))],
    ids=["length", "chunked", "gzip"],
)
async def test_closing_ends_a_call_that_reads_a_body(answer: Reply) -> None:
    """Those who wait for the rest of a body are not told by aiohttp."""
    async with Loopback([answer.stall("body")]) as server:
        transport = transport_to(server.url)
        call = asyncio.ensure_future(transport.request("GET", "/", headers={}, body=None, timeout=60))
        async with asyncio.timeout(20):
            while not [held for held in transport._sessions.values() if held.reading]:
                await asyncio.sleep(0)
            await transport.aclose()
            with pytest.raises(ApiConnectionError):
                await call


class ServerThread:
    """A server whose loop runs in a thread, for tests that run loops of their own."""

    def __enter__(self) -> "ServerThread":
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with Loopback(self._answer) as server:
            self.server, self.url = server, server.url
            self._ready.set()
            await self._stop.wait()

    def _answer(self, request: Request) -> Any:
        return reply(200, {"id": "run_1", "status": "SUCCEEDED"})


def test_a_loop_that_stands_still_keeps_its_session_until_its_own_end() -> None:
    with ServerThread() as thread:
        client = Client("test-key", base_url=thread.url, proxy=False)
        with asyncio.Runner() as runner:
            runner.run(client.run_status("run_1"))
            with ThreadPoolExecutor() as elsewhere:
                elsewhere.submit(asyncio.run, client.aclose()).result()
            with pytest.raises(ClientClosedError):
                runner.run(client.run_status("run_1"))


def test_a_client_keeps_no_loop_that_was_closed() -> None:
    loops = []

    async def use(client: Client) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(*(client.run_status("run_1") for _ in range(3)))

    with ServerThread() as thread:
        client = Client("test-key", base_url=thread.url, proxy=False, max_connections=1)
        for _ in range(4):
            asyncio.run(use(client))
        gc.collect()
        assert [loop() is None for loop in loops[:3]] == [True] * 3  # the newest goes with the next


async def test_a_body_has_a_time_limit_for_each_of_its_chunks_and_for_the_response_after_it() -> None:
    class Limit:
        seconds: ClassVar[list[float]] = []

        def extend(self, seconds: float) -> None:
            self.seconds.append(seconds)

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    limit: Any = Limit()
    assert [chunk async for chunk in _Paced(body(), limit, 3.0)] == [b"a", b"b"]
    assert limit.seconds == [3.0, 3.0, 3.0]
