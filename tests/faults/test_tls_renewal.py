"""TLS servers that negotiate anew or renew their keys: before an answer, in the middle of it, between two."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from components import component
from faults.certificates import Authority
from faults.support import ENOUGH, KEY

from lume_async import Client
from lume_async.testing import run_json

OPENSSL = [
    component("stdbuf"),
    "-oL",
    component("openssl"),
]  # it shows each line at once, though nobody looks on
FIRST, _, REST = json.dumps(run_json("run_1", "SUCCEEDED"), indent=1).partition("\n")
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(FIRST) + 1 + len(REST)}\r\n\r\n"
COMMANDS = {
    "TLS 1.2, renegotiation": ("-tls1_2", "r"),
    "TLS 1.2, renegotiation that asks for a certificate": ("-tls1_2", "R"),
    "TLS 1.3, new keys": ("-tls1_3", "k"),
    "TLS 1.3, new keys at both ends": ("-tls1_3", "K"),
}


class Server:
    """`openssl s_server`: sends what is typed, but for lines that are commands; one connection at a time."""

    def __init__(self, program: Process) -> None:
        self._program = program
        self._shown = b""

    async def shows(self, text: bytes) -> bytes:
        """Wait for that text, and give the line on which it stands from there on."""
        assert self._program.stdout is not None
        async with asyncio.timeout(ENOUGH):
            while b"\n" not in self._shown.partition(text)[2]:
                more = await self._program.stdout.read(4096)
                assert more, "openssl has ended"
                self._shown += more
        line, _, self._shown = self._shown.partition(text)[2].partition(b"\n")
        return line

    async def type(self, text: str) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(text.encode())
        await self._program.stdin.drain()

    async def renew(self, command: str) -> None:
        await asyncio.sleep(0.1)  # what was typed before is read first: a command is one only by itself
        await self.type(f"{command}\n")
        assert await self.shows(b"SSL_do_handshake -> ") == b"1"


@pytest.mark.parametrize(("version", "command"), COMMANDS.values(), ids=COMMANDS)
async def test_a_server_that_renews_its_keys_is_read_on(version: str, command: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.server()
    file = str(tmp_path / "127.0.0.1.pem")
    arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", file, "-key", file, version]
    program = await asyncio.create_subprocess_exec(*OPENSSL, *arguments, stdin=PIPE, stdout=PIPE)
    try:
        server = Server(program)
        port = int(await server.shows(b"ACCEPT 127.0.0.1:"))
        url = f"https://127.0.0.1:{port}"
        async with Client(KEY, base_url=url, proxy=False, ssl=authority.ca_file) as client:
            for _ in range(2):
                polling = asyncio.create_task(client.run_status("run_1"))
                await server.shows(b"lume-api-key: ")
                await server.renew(command)
                await server.type(f"{HEAD}{FIRST}\n")
                await server.renew(command)
                await server.type(REST)
                assert (await polling).succeeded
                await server.renew(command)  # the connection is kept: another one would not be served
    finally:
        program.kill()
        await program.communicate()
