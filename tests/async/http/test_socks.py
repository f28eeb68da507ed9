"""Requests through a SOCKS proxy."""

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from run_service import RunService

from lume_async import ApiConnectionError, Client, ConfigurationError, Retry
from lume_async._http import settings


class Socks:
    """A SOCKS 5 server: which places it was asked for, and how it answers."""

    def __init__(self, *, password: str | None = None, reply: int = 0) -> None:
        self.asked: list[tuple[str, int]] = []
        self._password, self._reply = password, reply
        self._pipes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]
            for pipe in self._pipes:
                pipe.cancel()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        offered = await reader.readexactly(count)
        method = 0 if self._password is None else 2
        writer.write(bytes([5, method if method in offered else 255]))
        if method == 2:
            _, length = await reader.readexactly(2)
            await reader.readexactly(length)
            (length,) = await reader.readexactly(1)
            right = (await reader.readexactly(length)).decode() == self._password
            writer.write(bytes([1, 0 if right else 1]))
            if not right:
                return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        self.asked.append((host, port))
        writer.write(bytes([5, self._reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if self._reply:
            return
        there, out = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_pipe(reader, out), _pipe(there, writer))
        finally:
            out.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(65536):
        writer.write(block)
        await writer.drain()
    writer.close()


async def test_requests_go_through_the_proxy_which_resolves_the_names() -> None:
    socks = Socks()
    async with RunService() as service, socks.running() as port:
        url = service.url.replace("127.0.0.1", "lume.invalid")
        async with Client(service.api_key, base_url=url, proxy=f"socks5://127.0.0.1:{port}") as client:
            run = await client.run("f:v1", "a.csv")
            assert (await run.wait()).succeeded
    assert {host for host, _ in socks.asked} == {"lume.invalid"}
    assert len(socks.asked) == 1, "the connection was kept"


async def test_a_password() -> None:
    socks = Socks(password="se/same:1")
    async with RunService() as service, socks.running() as port:
        proxy = f"socks5h://me:se%2Fsame%3A1@127.0.0.1:{port}"
        async with Client(service.api_key, base_url=service.url, proxy=proxy) as client:
            await client.run("f:v1", "a.csv")
        wrong = f"socks5://me:wrong-password@127.0.0.1:{port}"
        async with Client(
            service.api_key, base_url=service.url, proxy=wrong, retry=Retry(attempts=1)
        ) as client:
            with pytest.raises(ApiConnectionError, match="through the SOCKS proxy") as caught:
                await client.run("f:v1", "a.csv")
    assert not caught.value.reached
    assert "wrong-password" not in repr(vars(caught.value)) + str(caught.value)


@pytest.mark.parametrize("reply", [1, 5], ids=["failure", "refused"])
async def test_a_proxy_that_does_not_connect(reply: int) -> None:
    socks = Socks(reply=reply)
    async with socks.running() as port:
        async with Client(
            "key",
            base_url="http://lume.invalid",
            proxy=f"socks5://127.0.0.1:{port}",
            retry=Retry(attempts=1),
        ) as client:
            with pytest.raises(ApiConnectionError, match="through the SOCKS proxy") as caught:
                await client.run("f:v1", "a.csv")
        assert not caught.value.reached


async def test_a_proxy_that_is_not_there() -> None:
    async with Socks().running() as port:
        pass
    async with Client(
        "key", base_url="http://lume.invalid", proxy=f"socks5://127.0.0.1:{port}", retry=Retry(attempts=1)
    ) as client:
        with pytest.raises(ApiConnectionError, match="SOCKS proxy") as caught:
            await client.run_status("run_1")
    assert not caught.value.reached


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigurationError, match=r"a SOCKS proxy needs aiohttp-socks: .*pip install .*\[socks\]"
    ):
        Client("key", base_url="http://lume.test", proxy="socks5://localhost:1080")


@pytest.mark.parametrize(
    "proxy", ["socks5://", "socks://localhost", "socks5://localhost:0", "ftp://localhost"]
)
def test_what_is_no_proxy(proxy: Any) -> None:
    with pytest.raises(ConfigurationError, match="or socks5://"):
        Client("key", base_url="http://lume.test", proxy=proxy)
