"""An aiohttp session per event loop, which ends with its loop or its client."""

import asyncio
import ssl as ssl_module
from collections.abc import AsyncGenerator
from importlib import import_module
from types import AsyncGeneratorType
from typing import Any, cast
from weakref import WeakKeyDictionary

import aiohttp

from lume_async._base.platform import at_fork
from lume_async._http.checks import is_socks
from lume_async._http.connector import CAN_BE_OURS, Connector, Resolver
from lume_async._http.settings import Settings, Ssl
from lume_async._http.time_limits import TimeLimits
from lume_async.errors import ConfigurationError

KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept: less than the 5 s after which common servers close it."""

_ALWAYS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}  # supported by `body`


SENDS = "_request" if hasattr(aiohttp.ClientSession, "_request") else "request"
"""The method of a session that sends; the public one makes a request 4 % dearer."""

_open_sessions: set["Session"] = set()

_closing: set[asyncio.Future[None]] = set()


class Session:
    """An aiohttp session that ends with its loop or its client, whichever comes first.

    This module refers to it, not only the client: in a reference cycle of the user's, the collector could finalize
    the session first, with a warning. For the same reason it must not refer to the client.
    """

    session: aiohttp.ClientSession
    limits: TimeLimits

    def __init__(self, settings: Settings, ssl: ssl_module.SSLContext | None) -> None:
        self.open = True
        self.reading: dict[aiohttp.ClientResponse, None] = {}
        self._ending = asyncio.Lock()
        # `asyncio.run` (and any `Runner`) closes the async generators of its loop, this one among them.
        self.life = cast("AsyncGeneratorType[aiohttp.ClientSession, None]", self._live(settings, ssl))

    async def _live(
        self, settings: Settings, ssl: ssl_module.SSLContext | None
    ) -> AsyncGenerator[aiohttp.ClientSession, None]:
        options: dict[str, Any] = {
            "limit": 0,  # the sender has its own fair limit: queueing must not look like a slow server
            # Without our protocol, unrequested data on a kept connection could be read as a response.
            **({"keepalive_timeout": KEEP_ALIVE} if CAN_BE_OURS else {"force_close": True}),
            "ssl": True if ssl is None else ssl,
        }
        proxy = settings.proxy
        if proxy is not None and is_socks(proxy):
            from lume_async._http.socks import SocksConnector  # here: aiohttp-socks is an extra

            connector: Connector = SocksConnector(proxy, **options)
            proxy = None
        else:
            connector = Connector(resolver=Resolver(), **options)
        self.limits = TimeLimits(connector.connecting)
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={**_ALWAYS, "User-Agent": settings.user_agent},
            proxy=proxy,
        )
        _open_sessions.add(self)
        try:
            yield self.session
        finally:
            await self._end()

    async def aclose(self) -> None:
        """End it, in its own loop, unless the loop is closing the generator already."""
        if self.session.connector is not None:  # None after its end
            await self._end()
        if not self.life.ag_running:
            await self.life.aclose()

    async def _end(self) -> None:
        """End the session; a second call waits for the first."""
        async with self._ending:
            self.open = False
            _open_sessions.discard(self)
            # aiohttp does not end tasks that are connecting or reading a body: they would wait for their timeout.
            self.limits.give_up()
            for response in list(self.reading):
                response.close()
            await self.session.close()


def end_all(sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, Session]) -> None:
    """Drop the sessions of a client that was garbage collected, on any thread and at any time.

    A loop closes its unreferenced generators. Closing them here could run during the loop's own shutdown.
    """
    for loop, opened in list(sessions.items()):
        if opened.open and not loop.is_closed():
            _open_sessions.discard(opened)
            del opened.life


def close_soon(session: Session) -> None:
    task = asyncio.ensure_future(session.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def ssl_context(ssl: Ssl) -> ssl_module.SSLContext:
    """Return the context of a client's `ssl` argument, for a thread: reading a CA bundle takes milliseconds."""
    if isinstance(ssl, ssl_module.SSLContext):
        return ssl
    try:
        return ssl_module.create_default_context(cafile=ssl)
    except OSError as error:
        reason = str(error)
    raise ConfigurationError(f"ssl: no certificates in {str(ssl)!r}: {reason}")


def _abandon_inherited_sessions() -> None:
    """Drop the parent's sessions without closing them, in a forked child.

    They share the epoll set and the TLS state with the parent: closing would unregister or shut down the parent's
    connections. An additional reference prevents their finalization, even at exit.
    """
    if not _open_sessions:
        return
    from lume_async._base.immortal import immortal

    for opened in _open_sessions:
        opened.open = False
        immortal(opened)
    _open_sessions.clear()


def _prepare_fork() -> None:
    """Import for a child that inherits connections: there, the lock of another thread's import is never released."""
    if _open_sessions:
        import_module("lume_async._base.immortal")


at_fork(before=_prepare_fork, after_in_child=_abandon_inherited_sessions)
