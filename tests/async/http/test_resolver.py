"""The resolver: what aiohttp is told about a host, looked up in a thread that nobody waits for."""

import socket
import threading
from typing import Any

import pytest

from lume_async._http.connector import Resolver


async def test_a_host_is_told_as_aiohttp_tells_it() -> None:
    from aiohttp import ThreadedResolver

    assert await Resolver().resolve("localhost", 80) == await ThreadedResolver().resolve("localhost", 80)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (("::1", 80, 0, 0), "::1"),
        (("fe80::1", 80, 0, 1), f"fe80::1%{socket.if_indextoname(1)}"),  # valid on that link only
    ],
)
async def test_ipv6(monkeypatch: pytest.MonkeyPatch, address: tuple[Any, ...], host: str) -> None:
    threads = set()

    def look_up(*_: Any, **__: Any) -> list[Any]:
        threads.add(threading.current_thread())
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", address)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    [found] = await Resolver().resolve("somewhere", 80, socket.AF_UNSPEC)

    assert (found["host"], found["port"], found["family"]) == (host, 80, socket.AF_INET6)
    assert threading.current_thread() not in threads


async def test_an_unknown_host_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"\S"):
        await Resolver().resolve("no-such-host.invalid", 80)
