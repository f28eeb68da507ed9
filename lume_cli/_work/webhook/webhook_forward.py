"""Forwards verified deliveries to the user's own receiver, byte for byte, and returns its response."""

from typing import Self

import aiohttp
import click
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_PATIENCE = 8.0
"""Timeout for the receiver in seconds; the embedded server waits 10."""
_LARGEST_ANSWER = 65536
_NOT_PASSED_ON = (
    *("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"),
    *("Host", "Content-Length", "Expect"),
)


class Forward:
    """Forwards deliveries; a context manager.

    Args:
        url: the receiver's URL.

    Raises:
        click.BadParameter: the URL is not valid.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = URL(url)
        except ValueError:
            self._url = URL()
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise click.BadParameter(
                "write it as http://127.0.0.1:8000/lume/", param_hint="--forward"
            ) from None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_PATIENCE),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def send(self, headers: CIMultiDictProxy[str], body: bytes) -> tuple[web.Response, str | None]:
        """Forward one delivery; return the receiver's response, or 502 and the reason."""
        assert self._session is not None
        passed = CIMultiDict(headers)
        for name in _NOT_PASSED_ON:
            passed.popall(name, None)
        try:
            async with self._session.post(
                self._url, data=body, headers=passed, allow_redirects=False
            ) as answer:
                kept = {
                    name: answer.headers[name]
                    for name in ("Content-Type", "Content-Encoding", "Location", "Retry-After")
                    if name in answer.headers
                }
                text = bytearray()
                async for chunk in answer.content.iter_any():
                    text += chunk
                    if len(text) > _LARGEST_ANSWER:
                        return web.Response(status=502), "the receiver's response is too large"
                return web.Response(status=answer.status, headers=kept, body=bytes(text)), None
        except TimeoutError:
            return web.Response(status=502), f"the receiver did not respond within {_PATIENCE:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return web.Response(status=502), f"the receiver can't be reached: {error}"
