"""aiohttp's resolver, connector and protocol, with six gaps closed."""

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lume_async._base.threads import run_in_thread

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
else:
    try:
        from aiohttp.client_proto import ResponseHandler
    except ImportError:
        ResponseHandler = object

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


class BrokenError(aiohttp.ClientConnectionError):
    """Has an error in `args`, at which aiohttp would repeat a GET by itself, but we count every attempt."""


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, but its connections are ours, and it knows who waits for one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.connecting: set[asyncio.Task[Any] | None] = set()
        """The tasks that have no connection yet, and so have sent nothing."""

    async def _made(self, *arguments: Any, **named: Any) -> Any:
        task = asyncio.current_task()
        self.connecting.add(task)
        try:
            made = await getattr(super(), _MAKES)(*arguments, **named)
        finally:
            self.connecting.discard(task)
        protocol = getattr(made, "protocol", made)
        if CAN_BE_OURS and type(protocol) is not OurProtocol:
            protocol.__class__ = OurProtocol  # aiohttp lets nobody choose it
        return made


# The public method makes a request 1 % dearer, as it also hands out kept connections.
_MAKES = "_create_connection" if hasattr(aiohttp.TCPConnector, "_create_connection") else "connect"
setattr(Connector, _MAKES, Connector._made)


class OurProtocol(ResponseHandler):
    body: aiohttp.StreamReader | None = None  # of the newest response

    def is_connected(self) -> bool:
        """Return whether a kept connection can be used again: not if unrequested data arrived, such as a late 408.

        aiohttp would read that as the response to the next request.
        """
        return super().is_connected() and not self.should_close

    def close(self) -> None:
        """Drop unsent data: a transport would wait for a silent peer to take it, for a quarter of an hour."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()
        super().close()

    def feed_data(self, data: Any, *size: Any, **named: Any) -> None:
        """Note the body of a response that begins."""
        _, self.body = data
        super().feed_data(data, *size, **named)

    def set_exception(self, exc: BaseException, *cause: Any, **named: Any) -> None:
        """Let the error also end the body, whose reader would wait for its timeout in aiohttp."""
        if isinstance(exc, (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            exc = BrokenError(exc)
        super().set_exception(exc, *cause, **named)
        body = self.body
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("malformed"), *cause, **named)


try:  # aiohttp documents no protocol: it may lack what ours uses, or have another layout
    ResponseHandler.__new__(ResponseHandler).__class__ = OurProtocol
    _USED = ("transport", "should_close", "is_connected", "close", "feed_data", "set_exception")
    CAN_BE_OURS = all(hasattr(ResponseHandler, name) for name in _USED)
except TypeError:
    CAN_BE_OURS = False
