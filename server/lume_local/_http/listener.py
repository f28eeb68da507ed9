"""Accepts connections, with or without TLS: their number is limited, and so is the time for a request's headers."""

import asyncio
import logging
import resource
import ssl
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from lume_async.errors import ConfigurationError
from lume_local._http.exchange import Problem, Reply, odd_problem
from lume_local._http.front import Front
from lume_local._http.responses import problem_answer, response_of
from lume_local._runs.waiters import Hub
from lume_local._shared.saved import Reread

_log = logging.getLogger("lume_local")

HEAD_LIMIT = 20.0
"""Seconds for the headers of a connection's first request, and for later headers from their first byte."""
IDLE_LIMIT = 75.0
"""Seconds for which a connection may wait for its next request."""
MOST_CONNECTIONS = 12_000
"""The maximum number of open connections: more than `MOST_WAITERS`."""
_SPARED = 100
"""Open files that are reserved for the state, uploads and worker processes."""


class _Connection(web.RequestHandler):
    """A connection whose responses to invalid HTTP, which come from aiohttp, are problem documents, too."""

    def __init__(self, acceptor: "_Acceptor", **options: Any) -> None:
        super().__init__(acceptor, **options)
        self._acceptor = acceptor
        self._timer: asyncio.TimerHandle | None = None
        self.is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._acceptor.connections) > _most_connections():
            self.force_close()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._timer is None and not self.is_answering and b"\r\n\r\n" not in data:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_LIMIT, self.force_close)

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:
            _log.error("internal error of the server", exc_info=exc)
            problem = Problem("internal", "see the server's log")
        else:
            # aiohttp's message repeats the line, which may contain the key.
            too_long = isinstance(exc, LineTooLong)
            problem = odd_problem(
                status, "a line of the request's head is too long" if too_long else "this is not HTTP/1.1"
            )
        response = response_of(problem_answer(problem), uuid.uuid4().hex)
        response.force_close()
        return response


def _most_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(files - _SPARED, files // 2))


class _Acceptor(web.Server):
    def __init__(self, handler: Callable[..., Awaitable[web.StreamResponse]], **options: Any) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class Standby:
    """Answers in place of a `Front`. `Retry-After` makes clients retry; a proxy asks `/readyz` and goes elsewhere."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/livez":
            answer = Reply(200, {"status": "ok"})
        else:
            detail = "this server waits for the state, which another one has or which is away: try again"
            answer = problem_answer(Problem("unavailable", detail))
        response = response_of(answer, uuid.uuid4().hex)
        response.force_close()  # so that the next request may reach the other server
        return response


class Listener:
    """Listens for requests.

    Attributes:
        front: answers them; may be replaced at any time.
        on_reload: called with the file of a certificate that was reread.
        base_url: the address that it listens at; None before that.
    """

    def __init__(self, front: Front | Standby, hub: Hub) -> None:
        self.front, self._hub = front, hub
        self.base_url: str | None = None
        self.on_reload: Callable[[Path], None] = lambda path: None
        self._runner: web.ServerRunner | None = None

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> str:
        """Start listening and return the base URL. Raises OSError if the address can't be used."""
        acceptor = _Acceptor(
            self._handle,
            access_log=None,
            auto_decompress=False,  # a small body may decompress to a large one; compressed bodies are refused
            keepalive_timeout=IDLE_LIMIT,
        )
        self._runner = web.ServerRunner(acceptor, handle_signals=False, shutdown_timeout=5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        address = self._runner.addresses[0]
        shown = f"[{host}]" if ":" in host else host
        self.base_url = f"{'http' if tls is None else 'https'}://{shown}:{address[1]}"
        return self.base_url

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        # Body bytes that arrive before this task begins look like bytes of another head.
        connection = cast(_Connection, request.protocol)
        connection.stop_timer()
        connection.is_answering = True
        try:
            return await self.front.handle(request)
        finally:
            connection.is_answering = False

    async def close(self) -> None:
        """Stop listening, answer the long polls, and close the connections."""
        self._hub.close()
        if self._runner is not None:
            await self._runner.cleanup()


class RenewedContext:
    """The context of a listening socket; each handshake uses the current certificate of the files.

    While the files can't be used, for example because only one is renewed yet, the previous certificate is used.

    Args:
        certificate: the file of a PEM certificate with its chain.
        key: the file of its PEM private key.
        on_reload: called with the certificate's path after both were reread.

    Raises:
        ConfigurationError: they can't be used.
    """

    def __init__(
        self, certificate: Path, key: Path, on_reload: Callable[[Path], None] = lambda path: None
    ) -> None:
        self._certificate, self._on_reload = certificate, on_reload
        self._file = Reread(lambda: _loaded(certificate, key), "certificate stays in use", certificate, key)
        self.context = self._file.value
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Choose the certificate at the beginning of a handshake, even for clients that send no name."""
        if self._file.look():
            _log.warning("%s was read again", self._certificate)
            self._on_reload(self._certificate)
        connection.context = self._file.value


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context with the current content of the files. Raises `ConfigurationError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        raise ConfigurationError(f"tls_key: {key} is encrypted: save it without a password") from None
    except ssl.SSLError as error:
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigurationError(
            f"tls_cert, tls_key: {certificate} and {key} are not a PEM certificate and its key: {why}"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"tls_cert, tls_key: {certificate} or {key} can't be read: {error.strerror or error}"
        ) from None
    return context


class _Encrypted(Exception):
    """The key needs a password."""


def _no_password() -> str:
    raise _Encrypted
