"""aiohttp's resolver, connector and protocol, with five gaps closed."""

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from lume_async._base.threads import run_in_thread

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_ONLY_USABLE = getattr(socket, "AI_ADDRCONFIG", 0)  # no IPv6 addresses on a machine without IPv6


class Resolver(AbstractResolver):
    """The system's resolver. aiohttp's uses the loop's default threads, which may be busy for hours."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return every address of the host. Raises `OSError` if it has none, or the lookup failed."""
        return await run_in_thread(_look_up, host, port, family)

    async def close(self) -> None:
        """Do nothing, as there are no resources."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=_ONLY_USABLE)
    return [
        ResolveResult(
            hostname=host,
            host=_numeric(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=_NUMERIC,
        )
        for kind, _, proto, _, address in found
        if kind in (socket.AF_INET, socket.AF_INET6)
    ]


def _numeric(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    """Return the address as text, with its zone (`fe80::1%eth0`) if it is link-local."""
    if len(address) == 4 and address[3]:
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(address[0])


class SocksError(aiohttp.ClientConnectionError):
    """No connection through a SOCKS proxy: nothing was sent."""


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, but attempts to connect can be ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        protocol: type[ResponseHandler] = _Protocol
        self._factory = partial(protocol, loop=self._loop)
        self._connecting: dict[asyncio.Task[Any] | None, asyncio.Timeout] = {}

    def is_connecting(self, task: asyncio.Task[Any]) -> bool:
        """Return whether the task has no connection yet, and so has sent nothing."""
        return task in self._connecting

    def give_up(self) -> None:
        """Raise a timeout in every task that is resolving a name, connecting or shaking hands."""
        for alarm in list(self._connecting.values()):
            with suppress(RuntimeError):  # its loop is closed
                alarm.reschedule(0)

    async def _create_connection(self, *arguments: Any, **named: Any) -> Any:
        async with asyncio.timeout(None) as alarm:
            task = asyncio.current_task()
            self._connecting[task] = alarm
            try:
                return await super()._create_connection(*arguments, **named)
            finally:
                del self._connecting[task]


class _Protocol(ResponseHandler):
    """One connection."""

    def is_connected(self) -> bool:
        """Return whether a kept connection can be used again: not if unrequested data arrived, such as a late 408.

        aiohttp would read that as the response to the next request.
        """
        return super().is_connected() and not self.should_close

    def close(self) -> None:
        """Drop unsent data: a transport would wait for a silent peer to take it, for a quarter of an hour."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.abort()
        super().close()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Let the error also end the body, whose reader would wait for its timeout in aiohttp."""
        cause = () if exc_cause is None else (exc_cause,)
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("malformed"), *cause)
