"""Connections through a SOCKS proxy, by `aiohttp-socks` (the extra `socks`)."""

from typing import Any
from urllib.parse import unquote, urlsplit

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

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        try:
            return await super().connect(*arguments, **named)
        except (ProxyError, ProxyConnectionError, ProxyTimeoutError, OSError) as error:
            if type(error) is TimeoutError and error.errno is None:  # the time for connecting is over
                raise
            reason = str(error)
        raise SocksError(reason)
