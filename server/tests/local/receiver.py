"""Somebody who receives webhooks, with the handler that lume_async gives to users."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from attrs import field, frozen

from lume_async.webhooks import WebhookEvent, aiohttp_handler

SECRET = "whisper"

OnEvent = Callable[[WebhookEvent], Awaitable[object] | object]


@frozen
class Received:
    """One request that arrived, and the status that it was answered with."""

    headers: dict[str, str]
    body: bytes
    status: int


@frozen
class Receiver:
    """Where to send to, and what came."""

    url: str
    host: str
    """As a server's `webhook_hosts` names it."""
    received: list[Received] = field(factory=list)
    came: asyncio.Condition = field(factory=asyncio.Condition)

    async def until(self, count: int) -> list[Received]:
        """Wait until so many requests have been answered."""
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(lambda: len(self.received) >= count)
            return [*self.received]


class _Again:
    """A request that was read already, for the handler to read it: as much of one as it looks at."""

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers, self.content, self._body = headers, self, body

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._body


def unused_port() -> int:
    """A port that is free, for whoever must be named before it listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def receiver(on_event: OnEvent, secret: str = SECRET, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver as long as the block lasts; requests go to `on_event` once their signature was verified."""
    handler = aiohttp_handler(on_event, secret)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = await handler(cast(web.Request, _Again(request.headers, body)))
        async with here.came:
            here.received.append(Received(dict(request.headers), body, answer.status))
            here.came.notify_all()
        return answer

    app = web.Application()
    app.router.add_post("/hook", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    here = Receiver(f"http://{host}/hook", host)
    try:
        yield here
    finally:
        await runner.cleanup()
