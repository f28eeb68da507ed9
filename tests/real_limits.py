"""Limits of real servers on 127.0.0.1: one of our own that answers at once, nginx and haproxy before it.

Each knows any run: it ends so many seconds after the first request.
"""

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import orjson
from components import component
from faults.programs import free_port, running
from limits import Concurrency, LimitedServer

from lume_async import Client, RequestFinished
from lume_async.testing import run_json

Server = AbstractAsyncContextManager[str]
"""Its address."""


@dataclass
class _Connection(asyncio.Protocol):
    """HTTP/1.1 without a body in requests, as quick as Python can: what is measured is the client."""

    server: LimitedServer
    lasts: float
    begun: list[float]
    transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, and is no subclass

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if not self.begun:
            self.begun.append(loop.time())
        now = loop.time() - self.begun[0]
        work = self.server.take(now, 1.0)
        run_id = data.split(b" ", 2)[1].rpartition(b"/")[2].decode()
        status, body = 429, b"{}"
        if work is not None:
            status = 200
            body = orjson.dumps(run_json(run_id, "SUCCEEDED" if now >= self.lasts else "TRANSFORMING"))
        lines = [f"HTTP/1.1 {status} -", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        if work is None:
            lines += [f"{name}: {value}" for name, value in self.server.headers(now).items()]
        answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        if work:
            loop.call_later(work, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)


@contextlib.asynccontextmanager
async def loopback(server: LimitedServer, lasts: float = 4.0) -> AsyncIterator[str]:
    begun: list[float] = []
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: _Connection(server, lasts, begun), "127.0.0.1", 0, backlog=4096
    )
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def nginx(zone: str, limit: str, *, work: float = 0.0, lasts: float = 4.0) -> AsyncIterator[str]:
    """nginx with `zone` and `limit`, such as `limit_conn_zone $binary_remote_addr zone=z:1m` and `limit_conn z 4`.

    Args:
        work: seconds that the service behind it takes for each request.
    """
    program = component("nginx")
    async with loopback(LimitedServer(Concurrency(1_000, work)), lasts) as upstream:
        with tempfile.TemporaryDirectory() as folder:
            port, log, config = free_port(), Path(folder, "error.log"), Path(folder, "nginx.conf")
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            places = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
            config.write_text(f"""
                daemon off; worker_processes 1; pid {folder}/pid; error_log {log};
                events {{ worker_connections 1024; }}
                http {{
                    access_log off; {places} {zone};
                    upstream service {{ server {upstream.removeprefix("http://")}; keepalive 64; }}
                    server {{
                        listen 127.0.0.1:{port} backlog=4096;
                        location / {{
                            {limit};
                            limit_req_status 429; limit_conn_status 429;
                            proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
                        }}
                    }}
                }}
            """)
            async with running(program, "-e", log, "-c", config, "-p", folder, port=port, log=log):
                yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def haproxy(rate: int, lasts: float = 4.0) -> AsyncIterator[str]:
    """haproxy with a stick-table that counts the requests of a second, those that it refuses among them."""
    program = component("haproxy")
    async with loopback(LimitedServer(), lasts) as upstream:
        with tempfile.TemporaryDirectory() as folder:
            port, config = free_port(), Path(folder, "haproxy.cfg")
            config.write_text(f"""
global
    maxconn 1000
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
frontend service
    bind 127.0.0.1:{port}
    stick-table type ip size 1k expire 1m store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {rate} }}
    default_backend one
backend one
    server one {upstream.removeprefix("http://")}
""")
            async with running(program, "-db", "-f", config, port=port, log=Path(folder, "log")):
                yield f"http://127.0.0.1:{port}"


@dataclass
class Measured:
    """What a crowd met: seconds until all were seen to end, and how often each status came."""

    last: float
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def refused(self) -> float:
        return (self.statuses[429] + self.statuses[503]) / self.statuses.total()


LIMIT = 120.0
"""Seconds for a crowd: a server that answers nothing ends a measurement, too."""


async def crowd(server: Server, runs: int, prepare: Callable[[Client], None] | None = None) -> Measured:
    """Wait for so many runs of a real server, with a real client."""
    statuses: Counter[int] = Counter()

    def count(event: object) -> None:
        if isinstance(event, RequestFinished) and event.status_code is not None:
            statuses[event.status_code] += 1

    async with server as url, Client("test-key", base_url=url, proxy=False, hooks=[count]) as client:
        if prepare is not None:
            prepare(client)
        begun = time.monotonic()
        outcomes = await client.wait_all([f"run_{n}" for n in range(runs)], timeout=LIMIT)
        assert all(outcome.result().succeeded for outcome in outcomes)
        return Measured(time.monotonic() - begun, statuses)
