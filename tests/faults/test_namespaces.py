"""Hosts of our own in network namespaces: dead addresses, names that move, links that break without a word.

the client's namespace            the server's
192.0.2.1   2001:db8::1  <-----> 192.0.2.2   2001:db8::2
198.51.100.0/24 and 2001:db8:dead::/64 lead there, too, and vanish: the server's namespace forwards nothing
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from components import component
from faults.support import ENOUGH, KEY, ROOT, run_reply
from fork_server import ForkServer, new
from forked import CLIENTS, fork
from loopback import Loopback, Request, Script, Step, forever

IP = component("ip")
NAME = "lume.test"
LIVE4, LIVE6 = "192.0.2.2", "2001:db8::2"
DEAD4, DEAD6 = "198.51.100.9", "2001:db8:dead::9"
CLONE_NEWNET = 0x40000000


def ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True, capture_output=True)


@dataclass
class Network:
    client: str
    server: str
    programs: ForkServer
    """Those of the client's namespace."""

    def hosts(self, *addresses: str) -> None:
        """What `lume.test` means from now on, in the client's namespace; the file stays the same: it is mounted."""
        path = Path("/etc/netns", self.client, "hosts")
        path.write_text("".join(f"{address} {NAME}\n" for address in addresses))

    def link(self, state: str) -> None:
        """`up` or `down`, on the server's side."""
        ip("-n", self.server, "link", "set", "server", state)
        if state == "up":  # the kernel drops IPv6 addresses with the link
            ip("-n", self.server, "addr", "replace", f"{LIVE6}/64", "dev", "server", "nodad")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    client, server = f"lume-client-{os.getpid()}", f"lume-server-{os.getpid()}"
    try:
        ip("netns", "add", client)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces need root: {error.stderr.decode().strip()}")
    hosts = Path("/etc/netns", client)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, client, server, hosts)
        ip("netns", "add", server)
        hosts.mkdir(parents=True)
        (hosts / "hosts").touch()
        programs = new(*CLIENTS, flags=("-X", "dev"), within=(IP, "netns", "exec", client))
        stack.callback(programs.close)
        network = Network(client, server, programs)
        veth = ["type", "veth", "peer", "name", "server", "netns", network.server]
        ip("-n", network.client, "link", "add", "client", *veth)
        for name, end, last in ((network.client, "client", 1), (network.server, "server", 2)):
            ip("-n", name, "addr", "add", f"192.0.2.{last}/24", "dev", end)
            ip("-n", name, "addr", "add", f"2001:db8::{last}/64", "dev", end, "nodad")
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", network.client, "route", "add", "198.51.100.0/24", "via", LIVE4)
        ip("-n", network.client, "route", "add", "2001:db8:dead::/64", "via", LIVE6)
        yield network


def _remove(client: str, server: str, hosts: Path) -> None:
    for name in (client, server):
        subprocess.run([IP, "netns", "del", name], check=False, capture_output=True)
    for entry in hosts.iterdir() if hosts.exists() else ():
        entry.unlink()
    if hosts.exists():
        hosts.rmdir()


class Elsewhere(Loopback):
    """A server that stands in a namespace: a socket stays in that of the thread which made it."""

    def __init__(self, script: Script, network: Network) -> None:
        super().__init__(script)
        self._network = network

    def _park(self) -> None:
        thread = threading.Thread(target=self._park_there)
        thread.start()
        thread.join()
        assert self._parked is not None

    def _park_there(self) -> None:
        with open(f"/run/netns/{self._network.server}") as there:
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        parked = socket.socket(socket.AF_INET6)
        parked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        parked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        parked.bind(("::", self.port))
        self.port = parked.getsockname()[1]
        self._parked = parked


class Program:
    """Statements about `client` and `timed(...)` in the client's namespace; what they `say` comes back as JSON."""

    def __init__(self, network: Network, server: Loopback, body: str, **options: Any) -> None:
        options = {"base_url": f"http://{NAME}:{server.port}", "proxy": False, **options}
        self._source = textwrap.dedent("""
            import asyncio, json, time
            from lume_async import *

            def say(*what):
                print(json.dumps(what), flush=True)

            async def timed(work):
                started = time.monotonic()
                try:
                    result = (await work).status.value
                except LumeError as error:
                    result = f"{type(error).__name__} reached={getattr(error, 'reached', None)}"
                return result, time.monotonic() - started

            async def main():
                async with Client(%r, **%r) as client:
            %s
            asyncio.run(main())
        """) % (KEY, options, textwrap.indent(textwrap.dedent(body), " " * 8))
        self._network = network

    async def __aenter__(self) -> "Program":
        env = {"PYTHONPATH": str(ROOT), "PATH": os.defpath}
        self._process = await fork(self._network.programs, self._source, env)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.communicate()

    async def hear(self) -> list[Any]:
        async with asyncio.timeout(ENOUGH):
            line = await self._process.stdout.readline()
        assert line, (await self._process.stderr.read()).decode()
        said: list[Any] = json.loads(line)
        return said


POLL = 'say(*await timed(client.run_status("run_1")))'


@pytest.mark.once
@pytest.mark.parametrize(
    "addresses",
    [(DEAD6, LIVE4), (DEAD4, LIVE6), (DEAD4, DEAD6, LIVE4), (DEAD6, DEAD4, LIVE6), (LIVE4, DEAD6)],
    ids=" ".join,
)
async def test_a_dead_address_beside_a_live_one_costs_a_moment(
    addresses: tuple[str, ...], network: Network
) -> None:
    network.hosts(*addresses)
    async with (
        Elsewhere([forever(run_reply())], network) as server,
        Program(network, server, POLL) as program,
    ):
        result, seconds = await program.hear()

    assert result == "SUCCEEDED"
    assert seconds < 3.0  # a quarter of a second for each dead one; TCP itself gives up after two minutes


@pytest.mark.thorough
async def test_where_every_address_is_dead_the_submission_was_not_sent(network: Network) -> None:
    network.hosts(DEAD4, DEAD6)
    body = """
        client._sender.retry = Retry(attempts=1)
        say(*await timed(client.run("flow:v1", "a.csv", force_rerun=True)))
    """
    async with (
        Elsewhere([], network) as server,
        Program(network, server, body, request_timeout=1.5) as program,
    ):
        result, seconds = await program.hear()

    assert result == "ApiTimeoutError reached=False"
    assert 1.0 < seconds < 3.0


@pytest.mark.thorough
async def test_a_name_that_moves_to_a_live_address_is_found_by_the_wait(network: Network) -> None:
    network.hosts(DEAD4, DEAD6)
    body = """
        run = client.attach("run_1")
        waiting = asyncio.create_task(timed(run.wait(timeout=60)))
        await asyncio.sleep(0)
        say("waiting")
        say(*await waiting)
    """
    async with (
        Elsewhere([forever(run_reply())], network) as server,
        Program(network, server, body, request_timeout=1) as program,
    ):
        assert await program.hear() == ["waiting"]
        await asyncio.sleep(1.2)  # at least one attempt has ended at the dead address
        network.hosts(LIVE4)
        result, seconds = await program.hear()

    assert result == "SUCCEEDED"
    assert seconds < 8.0


@pytest.mark.thorough
async def test_a_name_that_is_unknown_for_a_while_ends_no_wait(network: Network) -> None:
    network.hosts()
    body = 'say("waiting"); say(*await timed(client.attach("run_1").wait(timeout=60)))'
    async with (
        Elsewhere([forever(run_reply())], network) as server,
        Program(network, server, body) as program,
    ):
        assert await program.hear() == ["waiting"]
        await asyncio.sleep(0.7)
        network.hosts(LIVE6)
        result, _ = await program.hear()

    assert result == "SUCCEEDED"


@pytest.mark.thorough
async def test_a_link_that_breaks_without_a_word_under_a_kept_connection_costs_one_attempt(
    network: Network,
) -> None:
    network.hosts(LIVE4)
    status = "TRANSFORMING"

    def answer(_: Request) -> Step:
        return run_reply(status)

    body = """
        run = client.attach("run_1")
        await run.refresh()
        say("polled")
        say(*await timed(run.wait(timeout=60)))
    """
    async with (
        Elsewhere(answer, network) as server,
        Program(network, server, body, request_timeout=1) as program,
    ):
        assert await program.hear() == ["polled"]
        network.link("down")
        try:
            await asyncio.sleep(1.5)
        finally:
            network.link("up")
        status = "SUCCEEDED"
        result, seconds = await program.hear()

    assert result == "SUCCEEDED"
    assert seconds < 10.0
