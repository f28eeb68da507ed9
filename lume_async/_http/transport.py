"""HTTP over aiohttp: one attempt at one request. No retries, no meaning."""

import asyncio
import math
import os
import re
import ssl as ssl_module
from collections.abc import AsyncIterable, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary, finalize

import aiohttp
from yarl import URL

from lume_async._http.body import arrived, beginning, whole
from lume_async._http.per_loop import forget_closed
from lume_async._http.session import Session, close_soon, end_all, load_trust
from lume_async._http.settings import Settings
from lume_async._http.time_limits import TimeLimit
from lume_async._wire.call import Response
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    ClientClosedError,
)

CONNECT_SHARE, LONGEST_CONNECT = 0.9, 10.0
"""Connecting ends before the attempt does, so that 'never connected' can be told from 'never answered'."""

_USER = re.compile(r"://[^/@\s]*@")
"""The user name and the password of a proxy, in the words of aiohttp's errors."""

_NOT_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    UnicodeEncodeError,  # of a host name, before it is looked up
)


Body: TypeAlias = bytes | AsyncIterable[bytes] | None


class Transport(Protocol):
    """What the rest of the library needs of HTTP; tests replace this edge."""

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Body, timeout: float
    ) -> Response:
        """One attempt: a whole answer with any status, within `timeout` seconds.

        Raises:
            ApiConnectionError: no whole answer; `reached` says whether the request may have arrived.
            ApiTimeoutError: none within `timeout` seconds.
            ResponseDecodeError: an answer that is too large or in an encoding that was not asked for.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; requests under way fail."""
        ...


class AiohttpTransport:
    """Sessions belong to their loop: made on first use in one, closed with it or with the client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._base = settings.base_url
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, Session] = WeakKeyDictionary()
        self._ssl: ssl_module.SSLContext | None = None
        self._closed = False
        # No `total`: the limit on the whole attempt is our own. aiohttp rounds what is longer than the threshold up
        # to a whole second: never.
        self._connecting = aiohttp.ClientTimeout(
            total=None,
            connect=min(LONGEST_CONNECT, CONNECT_SHARE * settings.request_timeout),
            ceil_threshold=math.inf,
        )
        finalize(self, end_all, self._sessions).atexit = False  # each ends with its loop anyway

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Body, timeout: float
    ) -> Response:
        response: aiohttp.ClientResponse | None
        limit: TimeLimit | None = None
        try:
            opened = self._sessions.get(asyncio.get_running_loop())
            if opened is None or not opened.open:
                opened = await self._open()
            with TimeLimit(opened.limits, timeout) as limit:
                # Not `request`: its context manager is one more step for every answer to pass through.
                response = await opened.session._request(
                    method,
                    URL(self._base + path, encoded=True),
                    headers=headers,
                    data=body,
                    timeout=self._connecting,
                    allow_redirects=False,  # the key would go wherever an answer points
                )
                content = None
                if response.status < 400:
                    content = arrived(response, self._settings.max_response_bytes)
                if content is None:
                    content = await self._read(opened, response)
            return Response(response.status, response.headers, content)
        except ApiError as error:
            failure: ApiError = error.with_traceback(None)
        except aiohttp.ConnectionTimeoutError:
            failure = self._no_connection()
        except TimeoutError:
            if limit is None or limit.connected:
                failure = ApiTimeoutError(f"{self._where}: no answer within {timeout:.3g} s")
            else:
                failure = self._no_connection()
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            failure = self._failure(error)
        # Raised out here, so that no aiohttp frame hangs on as __context__. The repr of an answer shows its headers.
        response = None
        if isinstance(failure, ApiConnectionError) and not failure.reached:
            self._forget_addresses()
        raise failure

    async def _read(self, opened: Session, response: aiohttp.ClientResponse) -> bytes:
        """The body, or the first part of an error's; the connection is free again, or closed, in the end."""
        opened.reading.add(response)
        try:
            async with response:
                if response.status < 400:
                    return await whole(response, self._settings.max_response_bytes)
                return await beginning(response)
        finally:
            opened.reading.discard(response)

    async def aclose(self) -> None:
        self._closed = True
        sessions = list(self._sessions.items())
        self._sessions.clear()  # first: who closes at the same time must find none of them
        for loop, opened in sessions:
            if loop is asyncio.get_running_loop():
                await opened.aclose()
            elif loop.is_running():
                with suppress(RuntimeError):  # it has ended meanwhile, and its session with it
                    loop.call_soon_threadsafe(close_soon, opened)

    @property
    def _where(self) -> str:
        return URL(self._base).origin().human_repr()

    def _no_connection(self) -> ApiTimeoutError:
        return ApiTimeoutError(f"{self._where}: no connection in time", reached=False)

    def _failure(self, error: Exception) -> ApiConnectionError:
        reached = not isinstance(error, _NOT_REACHED)
        words = _words_of(error)
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
            words += f" (trust store: {self._trust()})"
        return ApiConnectionError(f"{self._where}: {words}", reached=reached)

    def _forget_addresses(self) -> None:
        """The name may have moved to another machine: the next attempt looks it up anew."""
        opened = self._sessions.get(asyncio.get_running_loop())
        if opened is not None and isinstance(opened.session.connector, aiohttp.TCPConnector):
            opened.session.connector.clear_dns_cache()

    def _trust(self) -> str:
        given = self._settings.ssl
        if isinstance(given, ssl_module.SSLContext):
            return "the ssl= context"
        return str(given or os.environ.get("SSL_CERT_FILE") or "the system's")

    async def _open(self) -> "Session":
        """A session for the running loop, or the one that another task made meanwhile."""
        loop = asyncio.get_running_loop()
        if self._base.startswith("https:") and self._ssl is None:
            self._ssl = await load_trust(self._settings.ssl)
        if self._closed:
            raise ClientClosedError("the client is closed: make a new one")
        opened = self._sessions.get(loop)
        if opened is None or not opened.open:
            forget_closed(self._sessions)
            opened = self._sessions[loop] = Session(self._settings, self._ssl)
            await anext(opened.life)
        return opened


def _words_of(error: Exception) -> str:
    """What went wrong, in words that quote nothing of an answer: whatever is in there may repeat the API key."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection before it answered"
    if isinstance(error, (aiohttp.InvalidURL, UnicodeEncodeError)):
        return "this can't be the name of a host"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused the connection with status {error.status}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the body was cut or is malformed ({_kind_of(error)})"
    if isinstance(error, (aiohttp.ClientOSError, OSError)):  # the system's own words, and the address
        return _USER.sub("://", str(error)).replace(" ssl:default", "") or type(error).__name__
    if isinstance(error, (aiohttp.ClientResponseError, ValueError)):
        return f"the answer is not valid HTTP ({_kind_of(error)})"
    if isinstance(error, RuntimeError):  # aiohttp's own words, on a session that was closed meanwhile
        return str(error)
    return type(error).__name__


def _kind_of(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
