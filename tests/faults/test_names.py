"""Names: another address after a failover, and look-ups that wait for nobody's work."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from faults.support import client_for, leaping_client, run_reply
from loopback import Loopback, forever, hang_up, reset

from lume_async import ApiConnectionError, Retry

NAME = "lume.test"


class NextDoor(Loopback):
    """A server on another address of this machine, at the port of the first."""

    def __init__(self, first: Loopback) -> None:
        super().__init__([forever(run_reply())])
        self.port = first.port

    def _park(self) -> None:
        parked = socket.socket()
        parked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        parked.bind(("127.0.0.2", self.port))
        self._parked = parked


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says which address `lume.test` has from now on."""
    address = "127.0.0.1"
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        return real(address if host == NAME else host, *arguments, **options)

    def move(to: str) -> None:
        nonlocal address
        address = to

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return move


@pytest.mark.parametrize("attempts", [1, 3])
async def test_after_a_refused_connection_the_name_is_looked_up_anew(
    attempts: int, move: Callable[[str], None]
) -> None:
    async with Loopback([run_reply(), reset()]) as first, NextDoor(first) as second:
        retry = Retry(attempts=attempts)
        client, _ = leaping_client(first, base_url=f"http://{NAME}:{first.port}", retry=retry)
        async with client:
            await client.run_status("run_1")
            await first.refuse()
            move("127.0.0.2")
            failures = 0
            while not second.requests:
                try:
                    await client.run_status("run_1")
                except ApiConnectionError:
                    failures += 1

    assert failures <= (2 if attempts == 1 else 0)  # the kept connection, then the old address, then the new


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_look_up_waits_for_no_thread_of_the_program(scheme: str) -> None:
    release = threading.Event()
    loop = asyncio.get_running_loop()
    work = [loop.run_in_executor(None, release.wait) for _ in range(64)]
    try:
        step = run_reply() if scheme == "http" else hang_up("first byte")
        async with Loopback([step]) as server:
            url = f"{scheme}://localhost:{server.port}"
            async with client_for(server, base_url=url, retry=Retry(attempts=1)) as client:
                if scheme == "http":
                    assert (await client.run_status("run_1")).succeeded
                else:  # the trust store was read in a thread, too; the server hangs up in the handshake
                    with pytest.raises(ApiConnectionError):
                        await client.run_status("run_1")
                    assert server.connections == 1
    finally:
        release.set()
        await asyncio.gather(*work)


async def test_a_name_that_does_not_exist_is_no_lost_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    async with Loopback([]) as server:
        client, clock = leaping_client(server, base_url="http://nowhere.test")
        async with client:
            with pytest.raises(ApiConnectionError) as caught:
                await client.run("flow:v1", "a.csv", force_rerun=True)

    assert not caught.value.reached
    assert caught.value.attempts == 3
    assert len(clock.sleeps) == 2
