"""Two server processes over one state in PostgreSQL, behind haproxy, and what may happen to them."""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import postgres_server
from attrs import define, field
from components import component, package
from faults import programs
from fork_server import fork_server
from forked import SERVERS, fork
from local.stores import STATE_ENV

KEY = "a key of sixteen characters"
PROGRAM = """
import forked; forked.fork_workers()
import asyncio, json, sys, lume_local

async def main(options):
    async with lume_local.serve(**options):
        await asyncio.Event().wait()

asyncio.run(main(json.loads(sys.argv[1])))
"""


@define
class Line:
    """The network between a server and PostgreSQL. Nothing passes while it `is_down`, and nobody is told."""

    target: int
    port: int = 0
    _up: asyncio.Event = field(factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Line"]:
        self._up.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def down(self, seconds: float) -> None:
        self._up.clear()
        await asyncio.sleep(seconds)
        self._up.set()

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far, forth = await asyncio.open_connection("127.0.0.1", self.target)
            ways = [asyncio.create_task(self._pass(*way)) for way in ((near, forth), (far, back))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                forth.close()
        back.close()

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._up.wait()
                to.write(data)
                await to.drain()


@define
class Member:
    """One of the servers: a process that is started again whenever it ends, as a supervisor does."""

    name: str
    line: Line
    arguments: str
    environment: dict[str, str]
    port: int
    pid: int = 0
    starts: int = 0
    said: str = ""

    async def supervised(self) -> None:
        process = None
        try:
            while True:
                process = await fork(
                    fork_server(*SERVERS), PROGRAM, os.environ | self.environment, (self.arguments,)
                )
                self.pid, self.starts = process.pid, self.starts + 1
                _, said = await process.communicate()
                self.said = said.decode()[-10_000:]
                await asyncio.sleep(0.1)
        finally:
            if process is not None and process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                await process.communicate()


@define
class Cluster:
    """All of it, as long as the block of `running` lasts."""

    home: Path
    postgres: postgres_server.Server
    url: str
    environment: dict[str, str]
    base_url: str = ""
    members: list[Member] = field(factory=list)

    @contextlib.asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator["Cluster"]:
        """The servers, once one of them works."""
        async with contextlib.AsyncExitStack() as stack:
            for name in ("one", "two"):
                line = await stack.enter_async_context(Line(self.postgres.port).running())
                self.members.append(self._member(name, line, options))
            self.base_url = await stack.enter_async_context(self._balanced())
            async with asyncio.TaskGroup() as supervisors:
                tasks = [supervisors.create_task(member.supervised()) for member in self.members]
                try:
                    await self.until_one_works()
                    yield self
                finally:
                    for task in tasks:
                        task.cancel()

    def _member(self, name: str, line: Line, options: dict[str, Any]) -> Member:
        port = programs.free_port()
        given = {
            **{"flows": f"{self.home}/flows", "data": f"{self.home}/.lume", "roots": [str(self.home)]},
            **{"port": port, "api_key": KEY, "state_env": STATE_ENV},
            **options,
        }
        url = self.url.replace(f":{self.postgres.port}/", f":{line.port}/")
        return Member(name, line, json.dumps(given), {**self.environment, STATE_ENV: url}, port)

    @contextlib.asynccontextmanager
    async def _balanced(self) -> AsyncIterator[str]:
        port, config = programs.free_port(), self.home / "haproxy.cfg"
        servers = "\n    ".join(
            f"server {one.name} 127.0.0.1:{one.port} check inter 200ms fall 1 rise 1" for one in self.members
        )
        config.write_text(f"""
global
    maxconn 500
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout queue 1s
    timeout check 1s
    option redispatch
    retries 2
listen lume
    bind 127.0.0.1:{port}
    option httpchk GET /readyz
    default-server on-marked-down shutdown-sessions
    {servers}
""")
        haproxy = component("haproxy")
        async with programs.running(haproxy, "-db", "-f", config, port=port, log=self.home / "haproxy.log"):
            yield f"http://127.0.0.1:{port}"

    # -- which server has the state

    def holder(self) -> Member | None:
        """The one that has it; None if none has, or PostgreSQL is down."""
        try:
            rows = self.asked("SELECT holder FROM lume.lease WHERE until > clock_timestamp()")
        except package("psycopg").Error:
            return None
        pid = int(re.findall(r"pid (\d+)", rows[0][0])[0]) if rows else 0
        return next((one for one in self.members if one.pid == pid), None)

    def asked(self, query: str) -> list[tuple[Any, ...]]:
        """What the database of the state answers."""
        with package("psycopg").connect(self.url, connect_timeout=2) as connection:
            found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
            return found

    async def until_one_works(self, seconds: float = 30, *, besides: int = 0) -> Member:
        """The server that has the state, once it answers; not the process `besides`."""
        async with asyncio.timeout(seconds):
            while True:
                member = await asyncio.to_thread(self.holder)
                if member is not None and member.pid != besides and await is_ready(member.port):
                    return member
                await asyncio.sleep(0.05)

    # -- what may happen

    async def kill(self, member: Member) -> None:
        os.kill(member.pid, signal.SIGKILL)

    async def freeze(self, member: Member, seconds: float) -> None:
        pid = member.pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    async def crash_postgres(self) -> None:
        await asyncio.to_thread(self.postgres.crash)


async def is_ready(port: int) -> bool:
    """Whether a server takes work."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line
