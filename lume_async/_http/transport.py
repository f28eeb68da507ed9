"""HTTP over aiohttp: one attempt at one request. No retries, no meaning."""

import asyncio
import math
import os
import re
import ssl as ssl_module
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary, finalize

import aiohttp
from yarl import URL

from lume_async._base.immortal import immortal
from lume_async._base.threads import run_in_thread
from lume_async._http.per_loop import forget_closed
from lume_async._http.resolver import Resolver
from lume_async._http.settings import Settings, Ssl
from lume_async._wire.answers import Response
from lume_async._wire.headers import CONTENT_ENCODING, REQUEST_ID
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    ClientClosedError,
    ConfigurationError,
    ResponseDecodeError,
)

T = TypeVar("T")

ERROR_BYTES = 64 * 1024
"""How much of an error's body is read; the rest stays unread."""

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: below the 5 s of common servers, which else close it under a request."""

CONNECT_SHARE, LONGEST_CONNECT = 0.9, 10.0
"""Connecting ends before the attempt does, so that 'never connected' is told apart from 'never answered'."""

_CHUNK = 64 * 1024
_USER = re.compile(r"://[^/@\s]*@")
"""The user name and the password of a proxy, in the words of aiohttp's errors."""

_ALWAYS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}  # what is undone here, no more
_NOT_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
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
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = WeakKeyDictionary()
        self._ssl: ssl_module.SSLContext | None = None
        self._closed = False
        self._usual = _limits(
            settings.request_timeout, min(LONGEST_CONNECT, CONNECT_SHARE * settings.request_timeout)
        )
        finalize(self, _end_all, self._sessions).atexit = False  # each ends with its loop anyway

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Body, timeout: float
    ) -> Response:
        limits = self._usual
        if timeout != limits.total:
            limits = _limits(timeout, limits.connect)
        try:
            held = self._sessions.get(asyncio.get_running_loop())
            if held is None or not held.open:
                held = await self._open()
            async with held.session.request(
                method,
                URL(self._base + path, encoded=True),
                headers=headers,
                data=body,
                timeout=limits,
                allow_redirects=False,  # the key would go wherever an answer points
            ) as response:
                limit = self._settings.max_response_bytes
                held.reading.add(response)
                try:
                    content = await (
                        _whole(response, limit) if response.status < 400 else _beginning(response)
                    )
                finally:
                    held.reading.discard(response)
                return Response(response.status, response.headers, content)
        except ApiError as error:
            failure: ApiError = error
        except aiohttp.ConnectionTimeoutError:
            failure = ApiTimeoutError(f"{self._where}: no connection in time", reached=False)
        except TimeoutError:
            failure = ApiTimeoutError(f"{self._where}: no answer within {timeout:.3g} s")
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
            failure = self._failure(error)
        # Raised out here, so that no aiohttp frame (with its headers) hangs on as __context__.
        if isinstance(failure, ApiConnectionError) and not failure.reached:
            self._forget_addresses()
        raise failure

    async def aclose(self) -> None:
        self._closed = True
        sessions = list(self._sessions.items())
        self._sessions.clear()  # first: who closes at the same time must find none of them
        for loop, held in sessions:
            if loop is asyncio.get_running_loop():
                await held.life.aclose()
            elif loop.is_running():
                loop.call_soon_threadsafe(_close_soon, held)

    @property
    def _where(self) -> str:
        return URL(self._base).origin().human_repr()

    def _failure(self, error: Exception) -> ApiConnectionError:
        reached = not isinstance(error, _NOT_REACHED)
        words = _USER.sub("://", str(error)).replace(" ssl:default", "") or type(error).__name__
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
            words += f" (trust store: {self._trust()})"
        return ApiConnectionError(f"{self._where}: {words}", reached=reached)

    def _forget_addresses(self) -> None:
        """The name may have moved to another machine: the next attempt looks it up anew."""
        held = self._sessions.get(asyncio.get_running_loop())
        if held is not None and isinstance(held.session.connector, aiohttp.TCPConnector):
            held.session.connector.clear_dns_cache()

    def _trust(self) -> str:
        given = self._settings.ssl
        if isinstance(given, ssl_module.SSLContext):
            return "the ssl= context"
        return str(given or os.environ.get("SSL_CERT_FILE") or "the system's")

    async def _open(self) -> "_Session":
        """A session for the running loop, or the one that another task made meanwhile."""
        loop = asyncio.get_running_loop()
        if self._base.startswith("https:") and self._ssl is None:
            # Reading a CA bundle takes milliseconds: not on the loop.
            self._ssl = await run_in_thread(_ssl_context, self._settings.ssl)
        if self._closed:
            raise ClientClosedError("the client is closed: make a new one")
        held = self._sessions.get(loop)
        if held is None or not held.open:
            forget_closed(self._sessions)
            held = self._sessions[loop] = _Session(self._settings, self._ssl)
            held.session = await anext(held.life)
        return held


class _Session:
    """A session of aiohttp that ends with its loop or with its client, whichever comes first.

    It is held here and not by the client: in a cycle of the user's, the collector could finalize the session
    first, and loudly. For the same reason it must not refer to the client.
    """

    session: aiohttp.ClientSession

    def __init__(self, settings: Settings, ssl: ssl_module.SSLContext | None) -> None:
        self.open = True
        self.reading: set[aiohttp.ClientResponse] = set()
        # `asyncio.run` (and any `Runner`) closes the async generators of its loop, this one among them.
        self.life = self._live(settings, ssl)

    async def _live(
        self, settings: Settings, ssl: ssl_module.SSLContext | None
    ) -> AsyncGenerator[aiohttp.ClientSession, None]:
        connector = _Connector(
            limit=0,  # the sender's own fair limit comes before: queueing must not look like a slow server
            keepalive_timeout=KEEP_ALIVE,
            resolver=Resolver(),
            ssl=True if ssl is None else ssl,
        )
        _open_sessions.add(self)
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={**_ALWAYS, "User-Agent": settings.user_agent},
                proxy=settings.proxy,
            ) as session:
                # aiohttp would send a GET a second time by itself when a kept connection breaks: every send is
                # counted here.
                session._retry_connection = False
                try:
                    yield session
                finally:
                    # Who connects or reads a body would not hear of the end from aiohttp, and wait until the
                    # time is up.
                    connector.give_up()
                    for response in self.reading.copy():
                        response.close()
        finally:
            self.open = False
            _open_sessions.discard(self)


class _Connector(aiohttp.TCPConnector):
    """Connects as aiohttp does, but can be told to give up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._connecting: set[asyncio.Timeout] = set()

    def give_up(self) -> None:
        """Whoever is looking up a name, connecting or shaking hands gets a timeout, now."""
        for alarm in self._connecting.copy():
            with suppress(RuntimeError):  # it belonged to a loop that is closed
                alarm.reschedule(0)

    async def _create_connection(self, *arguments: Any, **named: Any) -> Any:
        async with asyncio.timeout(None) as alarm:
            self._connecting.add(alarm)
            try:
                return await super()._create_connection(*arguments, **named)
            finally:
                self._connecting.discard(alarm)


_open_sessions: set[_Session] = set()


def _end_all(sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session]) -> None:
    """Their client is garbage: on any thread, in the middle of anything.

    Letting go is enough: a loop closes a generator of its own that nobody holds any more. Closing it here could
    meet the loop's own end.
    """
    for loop, held in list(sessions.items()):
        if held.open and not loop.is_closed():
            _open_sessions.discard(held)
            del held.life


def _limits(timeout: float, connect: float | None) -> aiohttp.ClientTimeout:
    """`total` covers the whole attempt, the reading of a body that drips included."""
    # aiohttp reads 0 as no limit, and rounds what is longer than the threshold up to a whole second: never.
    return aiohttp.ClientTimeout(total=max(timeout, 0.001), connect=connect, ceil_threshold=math.inf)


def _close_soon(session: _Session) -> None:
    task = asyncio.ensure_future(session.life.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def _ssl_context(ssl: Ssl) -> ssl_module.SSLContext:
    if isinstance(ssl, ssl_module.SSLContext):
        return ssl
    try:
        return ssl_module.create_default_context(cafile=ssl)
    except OSError as error:
        reason = str(error)
    raise ConfigurationError(f"ssl: there are no certificates in {str(ssl)!r}: {reason}")


def _whole(response: aiohttp.ClientResponse, limit: int) -> Coroutine[Any, Any, bytes]:
    """The decoded body, never more than `limit` bytes of it in memory.

    Raises:
        ResponseDecodeError: it is larger, or in an encoding that was not asked for.
        ApiConnectionError: a compressed body was cut.
    """
    length = response.content_length
    if CONTENT_ENCODING in response.headers or length is None:
        return _decoded(response, limit)
    if length > limit:
        raise _too_large(response, limit)
    return response.read()


async def _decoded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    encoding = _encoding(response)
    if encoding == "identity":
        body, cut = await _gather(response, limit, None), False
    elif encoding in ("gzip", "deflate"):
        inflater = zlib.decompressobj(47)  # either header
        body = await _gather(response, limit, inflater)
        cut = bool(body) and not inflater.eof
    else:
        raise ResponseDecodeError(
            f"the answer has the encoding {encoding[:40]!r}, which was not asked for",
            status_code=response.status,
            retryable=False,
        )
    if len(body) > limit:
        raise _too_large(response, limit)
    if cut:
        raise ApiConnectionError("the compressed body was cut", status_code=response.status)
    return body


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first part of an error's body: enough to explain it; whatever can't be read is left out."""
    encoding = _encoding(response)
    inflater = zlib.decompressobj(47) if encoding in ("gzip", "deflate") else None
    try:
        return (await _gather(response, ERROR_BYTES, inflater))[:ERROR_BYTES]
    except (aiohttp.ClientError, ResponseDecodeError):
        return b""  # the status alone decides what it is


def _encoding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get(CONTENT_ENCODING, "identity").strip().lower()


async def _gather(response: aiohttp.ClientResponse, limit: int, inflater: "zlib._Decompress | None") -> bytes:
    """Up to `limit` + 1 decoded bytes: the one more tells the caller that there are more."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            room = limit + 1 - len(body)
            body += chunk[:room] if inflater is None else inflater.decompress(chunk, room)
            if len(body) > limit:
                break
        return bytes(body)
    except zlib.error as error:
        reason = str(error)
    raise ResponseDecodeError(
        f"the body is not what its Content-Encoding says: {reason}", status_code=response.status
    )


def _too_large(response: aiohttp.ClientResponse, limit: int) -> ResponseDecodeError:
    return ResponseDecodeError(
        f"the answer is larger than max_response_bytes={limit:,}: it was dropped unread",
        status_code=response.status,
        request_id=response.headers.get(REQUEST_ID),
        retryable=False,
    )


_closing: set[asyncio.Future[None]] = set()


def _abandon_inherited_sessions() -> None:
    """In a forked child: forget the parent's sessions, and never close them.

    Their loop's epoll set and their TLS state are shared with the parent: closing would unregister or shut
    down *its* connections. An extra reference keeps them from being finalized, at exit too.
    """
    for held in _open_sessions:
        held.open = False
        immortal(held)
    _open_sessions.clear()


os.register_at_fork(after_in_child=_abandon_inherited_sessions)
