"""HTTP over aiohttp: single attempts, without retries or interpretation."""

import asyncio
import math
import os
import re
import ssl as ssl_module
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias, runtime_checkable
from weakref import WeakKeyDictionary, finalize

import aiohttp
from yarl import URL

from lume_async._base.public import public
from lume_async._base.threads import run_in_thread
from lume_async._http.body import arrived, beginning, left_behind, refuse_encoded, whole
from lume_async._http.connector import BrokenError, SocksError
from lume_async._http.lifetime import forget_closed
from lume_async._http.session import SENDS, Session, close_soon, end_all, ssl_context
from lume_async._http.settings import Settings
from lume_async._http.time_limits import TimeLimit
from lume_async._wire.call import Receiver, Response
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    ClientClosedError,
)

LONGEST_CONNECT = 10.0
"""The maximum time in seconds for the name lookup, the connection and the handshake of an attempt."""
# No `total`: `TimeLimit` limits the attempt. The threshold: aiohttp rounds longer timeouts up to seconds.
_CONNECTING = aiohttp.ClientTimeout(total=None, connect=LONGEST_CONNECT, ceil_threshold=math.inf)

_USER = re.compile(r"://[^/@\s]*@")
"""The user name and the password of a proxy in aiohttp's messages."""

_NOT_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    SocksError,
)


Body: TypeAlias = bytes | AsyncIterable[bytes] | None
_Send: TypeAlias = Callable[..., Awaitable[aiohttp.ClientResponse]]


@public
@runtime_checkable
class Transport(Protocol):
    """The way of a client's requests to the service: `Client(transport=...)` replaces it.

    A class may inherit from it, or just have its methods. The client calls them on its event loop, several at a time.
    For tests, it may also have a `clock`, such as `lume_async.testing.FakeClock`, by which the client then sleeps.
    """

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
        """Make one attempt; return a complete response, with any status. Retries and redirects are not its business.

        Args:
            method: the HTTP method.
            path: the path below the base URL, percent-encoded, with the query.
            headers: all headers, those with the key included, but for the length of the body.
            body: bytes, None, or chunks, which can be iterated once. Then `timeout` is for each pause in it, and for
                the response after its end.
            timeout: seconds that the attempt may take. Without a streamed body, the client cancels it a second later.
            receiver: takes the body of a 200 or 206, if it is given. Then `timeout` is for the response's headers,
                and for each pause in its body. A transport of yours may ignore it and return the body.

        Raises:
            ApiConnectionError: no complete response; `reached` says whether the request may have arrived. Any
                exception that is not of this library (except an `AssertionError`) becomes one with `reached=True`: a
                submission may have started a run.
            ApiTimeoutError: no complete response within `timeout` seconds.
            ResponseDecodeError: the response is too large, or in an encoding that was not requested.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; requests under way fail. Called when the client is closed, perhaps again."""
        return  # without it, mypy takes the method for abstract


class AiohttpTransport:
    """Has a session per event loop: created on first use, closed with the loop or the client."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._base = settings.base_url
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, Session] = WeakKeyDictionary()
        self._ssl: ssl_module.SSLContext | None = None
        self._closed = False
        finalize(self, end_all, self._sessions).atexit = False  # each ends with its loop anyway

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
        response: aiohttp.ClientResponse | None
        limit: TimeLimit | None = None
        try:
            opened = self._sessions.get(asyncio.get_running_loop())
            if opened is None or not opened.open:
                opened = await self._open()
            with TimeLimit(opened.limits, timeout) as limit:
                if not (body is None or isinstance(body, bytes)):
                    body = _Paced(body, limit, timeout)
                send: _Send = getattr(opened.session, SENDS)
                response = await send(
                    method,
                    URL(self._base + path, encoded=True),
                    headers=headers,
                    data=body,
                    timeout=_CONNECTING,
                    allow_redirects=False,  # would send the key wherever a response points
                )
                content = None
                if receiver is not None and response.status in (200, 206):
                    content = await self._pass_on(opened, response, receiver, lambda: limit.extend(timeout))
                elif response.status < 400:
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
            # Let the next attempt look the name up again: it may have moved to another machine.
            opened = self._sessions.get(asyncio.get_running_loop())
            if opened is not None and isinstance(opened.session.connector, aiohttp.TCPConnector):
                opened.session.connector.clear_dns_cache()
        raise failure

    async def _read(self, opened: Session, response: aiohttp.ClientResponse) -> bytes:
        """Return the body, or the first part of an error's; afterwards the connection is free or closed."""
        opened.reading[response] = None
        try:
            async with response:
                if response.status < 400:
                    return await whole(response, self._settings.max_response_bytes)
                return await beginning(response)
        finally:
            opened.reading.pop(response, None)

    async def _pass_on(
        self,
        opened: Session,
        response: aiohttp.ClientResponse,
        receiver: Receiver,
        on_chunk: Callable[[], None],
    ) -> bytes:
        """Give the body to the receiver; return an empty one."""
        opened.reading[response] = None
        try:
            async with response:
                refuse_encoded(response)
                await receiver.begin(response.status, response.headers)
                try:
                    async for chunk in response.content.iter_any():
                        on_chunk()
                        await receiver.write(chunk)
                except (aiohttp.ClientError, OSError):
                    await receiver.write(left_behind(response))
                    raise
                finally:
                    await receiver.flush()
        finally:
            opened.reading.pop(response, None)
        return b""

    async def aclose(self) -> None:
        self._closed = True
        sessions = list(self._sessions.items())
        self._sessions.clear()  # first, so that a concurrent close finds none
        for loop, opened in sessions:
            if loop is asyncio.get_running_loop():
                await opened.aclose()
            elif loop.is_running():
                with suppress(RuntimeError):  # the loop has ended meanwhile, and its session with it
                    loop.call_soon_threadsafe(close_soon, opened)

    @property
    def _where(self) -> str:
        return URL(self._base).origin().human_repr()

    def _no_connection(self) -> ApiTimeoutError:
        return ApiTimeoutError(f"{self._where}: no connection in time", reached=False)

    def _failure(self, error: BaseException) -> ApiConnectionError:
        if isinstance(error, BrokenError):
            error = error.args[0]
        reached = not (isinstance(error, _NOT_REACHED) or _is_invalid_host(error))
        words = _words_of(error)
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
            given: object = self._settings.ssl
            if isinstance(given, ssl_module.SSLContext):
                given = "the ssl= context"
            trust = given or os.environ.get("SSL_CERT_FILE") or "the system's"
            words += f" (trust store: {trust})"
        return ApiConnectionError(f"{self._where}: {words}", reached=reached)

    async def _open(self) -> "Session":
        """Open a session for the running loop, unless another task has done so meanwhile."""
        loop = asyncio.get_running_loop()
        if self._base.startswith("https:") and self._ssl is None:
            self._ssl = await run_in_thread(ssl_context, self._settings.ssl)
        if self._closed:
            raise ClientClosedError
        opened = self._sessions.get(loop)
        if opened is None or not opened.open:
            forget_closed(self._sessions)
            opened = self._sessions[loop] = Session(self._settings, self._ssl)
            await anext(opened.life)
        return opened


class _Paced(AsyncIterator[bytes]):
    """A body with a time limit for each chunk: a connection that takes none for that long is stuck."""

    def __init__(self, body: AsyncIterable[bytes], limit: TimeLimit, seconds: float) -> None:
        self._chunks, self._limit, self._seconds = aiter(body), limit, seconds

    async def __anext__(self) -> bytes:
        self._limit.extend(self._seconds)
        return await anext(self._chunks)


def _is_invalid_host(error: BaseException) -> bool:
    """Return whether the name can't be encoded for its lookup; decoding fails only after an answer."""
    return isinstance(error, (aiohttp.InvalidURL, UnicodeError)) and not isinstance(error, UnicodeDecodeError)


def _words_of(error: BaseException) -> str:
    """Return a description of the error that quotes nothing of a response, which may repeat the API key."""
    if isinstance(error, SocksError):
        return f"no connection through the SOCKS proxy: {error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection before it answered"
    if _is_invalid_host(error):
        return "this is not a valid host name"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused the connection with status {error.status}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"the body is truncated or malformed ({_kind_of(error)})"
    if isinstance(error, (aiohttp.ClientOSError, OSError)):  # the system's message, and the address
        return _USER.sub("://", str(error)).replace(" ssl:default", "") or type(error).__name__
    if isinstance(error, (aiohttp.ClientResponseError, ValueError)):
        return f"the response is not valid HTTP ({_kind_of(error)})"
    if isinstance(error, RuntimeError):  # aiohttp's message for a session that was closed meanwhile
        return str(error)
    return type(error).__name__


def _kind_of(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__
