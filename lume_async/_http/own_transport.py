"""A transport of the user's in place of the default one: its responses and errors become those of this library."""

import asyncio
from collections.abc import Callable, Mapping
from inspect import getattr_static
from typing import Any

from multidict import CIMultiDict

from lume_async._base.tasks import is_being_cancelled
from lume_async._http.settings import Proxy, Settings, Ssl
from lume_async._http.transport import Body, Transport
from lume_async._wire.answers import ERROR_BYTES
from lume_async._wire.call import Receiver, Response
from lume_async._wire.headers import ACCEPT, USER_AGENT
from lume_async.errors import ApiConnectionError, ApiTimeoutError, ConfigurationError, LumeError

GRACE = 1.0
"""Seconds that it has beyond the time limit, for an error of its own."""


def chosen_transport(
    given: Transport | Callable[[Transport], Transport],
    default: Callable[[Settings], Transport],
    proxy: Proxy,
    ssl: Ssl,
) -> tuple[Proxy, Callable[[Settings], Transport]]:
    """Return the client's proxy, and what makes its transport from its settings. Raises `ConfigurationError`."""
    is_class = isinstance(given, type)
    if callable(given) and is_class == hasattr(given, "request"):
        make = given
        return proxy, lambda settings: OwnTransport(make(default(settings)), settings)
    if proxy or ssl is not None:
        raise ConfigurationError("proxy and ssl belong to the default transport, which transport replaces")
    return False, lambda settings: OwnTransport(given, settings)


class OwnTransport:
    """Checks what the user's transport is, gets and does."""

    def __init__(self, inner: Any, settings: Settings) -> None:
        if isinstance(inner, type) or not (hasattr(inner, "request") and hasattr(inner, "aclose")):
            raise ConfigurationError(
                "transport must be an object with the methods of Transport, or a function that makes one from the "
                f"default one, not {type(inner).__name__}"
            )
        self._inner: Transport = inner
        self.clock = getattr_static(inner, "clock", None)  # a mock has every attribute
        self._always = {ACCEPT: "application/json", USER_AGENT: settings.user_agent}

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Body,
        timeout: float,
        receiver: Receiver | None = None,
    ) -> Response:
        sent: CIMultiDict[str] = CIMultiDict(self._always)
        sent.update(headers)
        is_streamed = receiver is not None or not (body is None or isinstance(body, bytes))
        try:
            # The limit of a stream is for its pauses, which only the transport sees.
            async with asyncio.timeout(None if is_streamed else timeout + GRACE):
                response = await self._inner.request(
                    method, path, headers=sent, body=body, timeout=timeout, receiver=receiver
                )
            return await self._checked(response, receiver)
        except (LumeError, AssertionError):  # an assertion is a test's
            raise
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            # Lost, as it may have been sent. The error's message is not repeated: it may contain the key.
            kind = ApiTimeoutError if isinstance(error, TimeoutError) else ApiConnectionError
            raise kind(f"the transport failed: {type(error).__name__}") from error

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _checked(self, response: Response, receiver: Receiver | None) -> Response:
        """Return the response, with headers in any case; give the receiver a body that it has not got."""
        if not isinstance(response, Response):
            raise TypeError(f"a transport returns a Response, not {type(response).__name__}")
        status, headers, body = int(response.status), CIMultiDict(response.headers), response.body
        is_text = all(isinstance(value, str) for value in headers.values())
        if not (100 <= status <= 999 and is_text and isinstance(body, bytes)):
            raise TypeError("a Response has a status of HTTP, headers of text, and a body of bytes")
        if receiver is not None and body and status in (200, 206):
            await receiver.begin(status, headers)
            await receiver.write(body)
            await receiver.flush()
            body = b""
        return Response(status, headers, body if status < 400 else body[:ERROR_BYTES])
