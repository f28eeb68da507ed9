"""A webhook receiver that prints its deliveries. The work of `webhook listen`."""

import logging
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import click
from aiohttp import web

from lume_async._base.words import counted
from lume_cli._output import exit_codes
from lume_cli._output.text import visible
from lume_cli._session import CommandSession
from lume_cli._work.webhook import webhook_delivery
from lume_cli._work.webhook.webhook_delivery import ReceivedDelivery
from lume_cli._work.webhook.webhook_forward import Forward

_log = logging.getLogger("lume.cli")
"""Silent without -v: a peer that does not speak HTTP must not print a traceback."""
_PATIENCE = 30.0
"""Timeout for one request with its body, in seconds."""
_GRACE = 1.0
"""Seconds that requests in flight get at shutdown."""


class Listening:
    """One receiver.

    Args:
        wanted: the number of verified and successfully answered deliveries to stop after; None: never stop.
        forward: the receiver of verified deliveries.
    """

    def __init__(
        self,
        session: CommandSession,
        secrets: Sequence[bytes],
        *,
        wanted: int | None,
        forward: Forward | None,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._wanted = wanted
        self._forward = forward
        self._ended = anyio.Event()
        self._error: Exception | None = None
        self._begun = self._good = self._refused = 0
        self._documents: list[dict[str, Any]] = []

    async def until_ended(self, host: str, port: int, timeout: float | None) -> int:
        """Listen until enough deliveries arrived or the timeout; return the exit code."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, logger=_log, access_log=None, handle_signals=False, shutdown_timeout=_GRACE
        )
        async with AsyncExitStack() as stack:
            stack.callback(self._print_all)
            if self._forward is not None:
                await stack.enter_async_context(self._forward)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            url = await _listen(runner, host, port)
            text = f"lume: listening; Ctrl-C to stop. Use this webhook_url:\n  {url}"
            self._session.say.record("listening", text, url=url)
            with anyio.move_on_after(timeout) as limit:
                await self._ended.wait()
            if limit.cancelled_caught:
                return self._time_out(timeout or 0)
            if self._error is not None:
                raise self._error
        return exit_codes.OK

    def summary(self) -> str:
        """Return the counts so far."""
        refused = f", {self._refused:,} rejected" if self._refused else ""
        return f"{self._good:,} verified{refused}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            with anyio.move_on_after(_PATIENCE):
                return await self._take(request)
            return web.Response(status=408)
        except Exception as error:  # our output is closed, or a bug: ends the command
            self._error = self._error or error
            self._ended.set()
            return web.Response(status=500)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        delivery = await webhook_delivery.receive(request, self._secrets)
        if delivery.event is None:
            self._refused += 1
            self._print(delivery, delivery.status)
            return web.Response(status=delivery.status)
        if self._begun == self._wanted:
            return web.Response(status=503)  # left to the next listener: the server delivers again
        self._begun += 1
        response, problem = web.Response(status=delivery.status), None
        if self._forward is not None:
            response, problem = await self._forward.send(request.headers, delivery.body)
        self._print(delivery, response.status, problem)
        if await _respond(request, response):
            self._good += 1
        else:
            self._begun -= 1
        if self._good == self._wanted:
            self._ended.set()
        return response

    def _print(self, delivery: ReceivedDelivery, answered: int, problem: str | None = None) -> None:
        data = self._session.data
        if data.format == "table":
            data.line(visible(webhook_delivery.line(delivery, answered, problem)))
        elif data.format == "ndjson":
            data.document(webhook_delivery.to_dict(delivery, answered, problem))
        else:
            self._documents.append(webhook_delivery.to_dict(delivery, answered, problem))

    def _print_all(self) -> None:
        if self._session.data.format == "json":
            self._session.data.document(self._documents)

    def _time_out(self, timeout: float) -> int:
        if self._wanted is None:
            return exit_codes.OK
        text = f"fewer than {counted(self._wanted, 'delivery', 'deliveries')} within {timeout:g} s: {self.summary()}"
        self._session.say.problem("timeout", text, retryable=True)
        return exit_codes.TIMED_OUT


async def _respond(request: web.Request, response: web.Response) -> bool:
    """Send the response now, before the command may end; return whether it was a success."""
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return 200 <= response.status < 300


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    """Listen on one address, IPv4 if the name has both; return the URL."""
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        address = min(found, key=lambda each: each[0] != socket.AF_INET)[4][0]
        await web.TCPSite(runner, str(address), port).start()
    except OSError as error:
        raise click.ClickException(
            f"can't listen on {host}:{port}: {error.strerror or error}; pass another --host or --port"
        ) from None
    return f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}/"
