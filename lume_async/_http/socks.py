"""Connections through a SOCKS proxy, by `aiohttp-socks` (the extra `socks`)."""

import asyncio
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp.client_proto import ResponseHandler
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError, ProxyType

from lume_async._http.connector import Connector, SocksError

_TYPES = {"socks4": ProxyType.SOCKS4, "socks5": ProxyType.SOCKS5, "socks5h": ProxyType.SOCKS5}
_PORT = 1080


class SocksConnector(Connector, ProxyConnector):
    """Our connector, through a proxy. SOCKS 5 resolves the names of servers there, SOCKS 4 here."""

    def __init__(self, url: str, **options: Any) -> None:
        parts = urlsplit(url)
        super().__init__(
            host=parts.hostname,
            port=parts.port or _PORT,
            proxy_type=_TYPES[parts.scheme],
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            **options,
        )

    async def _wrap_create_connection(
        self, *args: Any, **named: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        try:
            transport, theirs = await super()._wrap_create_connection(*args, **named)
        except (ProxyError, ProxyConnectionError, ProxyTimeoutError, OSError) as error:
            reason = str(error)
        else:
            protocol: Any = self._factory()
            protocol.stream_writer = vars(theirs)["_writer"]  # its collection would close the connection
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return transport, protocol
        raise SocksError(reason)
