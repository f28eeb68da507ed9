"""Webhooks, safe by default: `verify` the raw body and `parse` it, or use a ready-made handler that does both.

The service sends a POST request to your URL when a run ends, signed with your secret: `X-Lume-Signature-256` signs
the raw body; the headers of Standard Webhooks also sign the delivery's ID and time, which prevents replays. The body
is only a hint: fetch the run before you act on it. Events may arrive twice, and late: `Once` runs your handler once
per event.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from attrs import evolve, field, frozen

from lume_async._base import arguments
from lume_async._base.duration import Duration, seconds
from lume_async._base.public import public_in
from lume_async._decoding import structure
from lume_async._webhooks.memory import InFile, InProcess
from lume_async._webhooks.signatures import (
    ID,
    SIGNATURE,
    SIGNATURE_HEADER,
    TIMESTAMP,
    TOLERANCE,
    Secrets,
    check_own,
    check_secrets,
    check_standard,
    veiled_secrets,
)
from lume_async._wire.answers import decode_object
from lume_async.errors import ResponseDecodeError, WebhookSignatureError
from lume_async.models import RunStatus, is_run_id

if TYPE_CHECKING:
    from aiohttp import web

__all__ = [
    "LARGEST_BODY",
    "Once",
    "SIGNATURE_HEADER",
    "WebhookEvent",
    "aiohttp_handler",
    "asgi_app",
    "parse",
    "verify",
]

LARGEST_BODY = 1024 * 1024
"""The largest body, in bytes, that the ready-made handlers accept."""

T = TypeVar("T")
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("lume.webhooks")
_public = public_in("lume_async.webhooks")


@_public
@frozen
class WebhookEvent:
    """The content of a delivery: the run, and its status. `raw` is the whole body, including unknown keys."""

    event: str
    run_id: str
    status: RunStatus
    flow_version: str | None = None
    source_path: str | None = None
    run_metadata: dict[str, Any] | None = None
    finished_at: datetime | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False)


OnEvent: TypeAlias = Callable[[WebhookEvent], Awaitable[object] | object]
"""Your handler, plain or asynchronous; if it raises an exception, the service delivers again."""


@_public
def verify(
    body: bytes,
    signature: str | bytes | Mapping[str, str] | None,
    secret: Secrets,
    *,
    tolerance: Duration = TOLERANCE,
    require_timestamp: bool = False,
) -> None:
    """Check that a delivery was signed with the secret, or with one of several.

    Pass all headers: if they include the Standard Webhooks ones (`webhook-id`, `webhook-timestamp`,
    `webhook-signature`), these are checked, and a delivery that was signed too long ago is refused.

    Args:
        body: the raw request body, before JSON parsing.
        signature: the request's headers, or the value of `X-Lume-Signature-256` alone: 64 hex digits, with or without
            `sha256=` in front; None if there is no such header.
        secret: your secret, or the old and the new one during a rotation. All are compared, in constant time. For
            the headers of Standard Webhooks, a secret with the prefix `whsec_` is decoded as base64.
        tolerance: the maximum difference between the delivery's time and now, seconds or a `timedelta`.
        require_timestamp: refuse deliveries without the headers of Standard Webhooks. Set it if your server sends
            them: otherwise a recorded delivery can be replayed without them.

    Raises:
        WebhookSignatureError: the signature is missing, malformed or wrong, or too old.
        ConfigurationError: no secret was given, or an empty one.
        TypeError, ValueError: an argument has another type, such as a body that is not bytes.

    Examples:
        >>> verify(body, headers, "the secret", require_timestamp=True)
    """
    secrets = veiled_secrets(secret)
    del secret  # so that no traceback with locals shows it
    body = _raw(body)
    keys = check_secrets(secrets)
    arguments.flag(require_timestamp, "require_timestamp")
    limit = seconds(tolerance, "tolerance")
    given = "" if signature is None else signature
    arguments.instance(given, "signature", (str, bytes, Mapping), "the headers or a string")
    headers = dict[str, str]()
    if isinstance(given, Mapping):
        said = "a header in signature"
        headers = {arguments.text(name, said, TypeError).lower(): value for name, value in given.items()}
        for name in headers.keys() & {ID, TIMESTAMP, SIGNATURE}:
            arguments.instance(headers[name], f"{name} in signature", str, "a string")
    if require_timestamp or any(name in headers for name in (ID, TIMESTAMP, SIGNATURE)):
        check_standard(body, headers, keys, time.time(), limit)
    elif isinstance(given, Mapping):
        check_own(body, headers.get(SIGNATURE_HEADER.lower(), ""), keys)
    else:
        check_own(body, given, keys)


def _raw(body: bytes) -> bytes:
    return bytes(arguments.instance(body, "body", (bytes, bytearray, memoryview), "the raw body as bytes"))


@_public
def parse(body: bytes) -> WebhookEvent:
    """Parse a verified body.

    Raises:
        ResponseDecodeError: the body violates the API contract; the message says where.
        TypeError: the body is not bytes.

    Examples:
        >>> event = parse(body)
        >>> print(event.run_id, event.status)
        run_1 SUCCEEDED
    """
    raw = decode_object(_raw(body))
    event = structure(raw, WebhookEvent)
    if not is_run_id(event.run_id):
        raise ResponseDecodeError("expected a run id @ $.run_id")
    return evolve(event, raw=raw)


@_public
class Once:
    """Runs a handler once per event (run and status); pass it to a ready-made handler.

    An event counts as handled when the handler has returned; after an exception the handler runs again at the next
    delivery. Concurrent deliveries of the same event share one run of the handler in this process.

    Args:
        handler: your handler.
        remember: the maximum number of events to remember; the oldest are forgotten first.
        path: a SQLite file that keeps the events across restarts and shares them between the processes of one
            machine; created if missing. If a process is killed within the handler, the next delivery runs it again.
            If None, the events are kept in memory.

    Raises:
        ConfigurationError: the file can't be opened or created.
        TypeError, ValueError: an argument is not valid.

    Examples:
        >>> app = asgi_app(Once(print, path="handled.db"), "the secret")
    """

    def __init__(
        self, handler: OnEvent, *, remember: int = 10_000, path: str | PathLike[str] | None = None
    ) -> None:
        self._handler = arguments.function(handler, "handler")
        arguments.whole(remember, "remember")
        self._in_file = path is not None
        self._handled: InProcess | InFile = InProcess(remember) if path is None else InFile(path, remember)
        self._running: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def __call__(self, event: WebhookEvent) -> None:
        """Handle the event, unless it was handled before.

        Raises:
            Exception: an exception that the handler raised.
            sqlite3.Error: the file can't be read or written.
        """
        key = (event.run_id, str(event.status))
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(self._handle(key, event))
            running.add_done_callback(lambda _: self._running.pop(key))
        # A delivery whose connection breaks must not cancel the handler for the others.
        await asyncio.shield(running)

    async def _handle(self, key: tuple[str, str], event: WebhookEvent) -> None:
        if await self._ask(self._handled.knows, key):
            return
        await _call(self._handler, event)
        await self._ask(self._handled.add, key)

    async def _ask(self, question: Callable[[tuple[str, str]], T], key: tuple[str, str]) -> T:
        """Ask the file in a thread: it may wait for the disk and for other processes."""
        return await asyncio.to_thread(question, key) if self._in_file else question(key)


@_public
def aiohttp_handler(
    on_event: OnEvent, secret: Secrets, *, require_timestamp: bool = False
) -> "Callable[[web.Request], Awaitable[web.Response]]":
    """Return a handler for `aiohttp.web`; add it with `add_post`.

    It responds 204 when `on_event` has returned, 401 if the signature is wrong or too old, 400 if the body is not an
    event, 413 and 415 if it is too large or compressed, and 500 if `on_event` raised: the service delivers it again.

    Args:
        on_event: your handler.
        secret: as for `verify`.
        require_timestamp: as for `verify`.

    Raises:
        ConfigurationError: no secret was given, or an empty one.

    Examples:
        >>> from aiohttp import web
        >>> app = web.Application()
        >>> route = app.router.add_post("/lume", aiohttp_handler(print, "the secret"))
    """
    secrets = veiled_secrets(secret)
    del secret
    receiver = _Receiver(on_event, check_secrets(secrets), require_timestamp)

    async def handle(request: "web.Request") -> "web.Response":
        from aiohttp import web

        if request.headers.get("Content-Encoding"):
            return web.Response(status=415)
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > LARGEST_BODY:
                return web.Response(status=413)
        status = await receiver.status(bytes(body), request.headers)
        return web.Response(status=status)

    return handle


@_public
def asgi_app(
    on_event: OnEvent, secret: Secrets, *, require_timestamp: bool = False
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an ASGI application; mount it as in `Mount("/lume", app=…)`. Its URL then ends with a slash, `…/lume/`.

    It takes the same arguments and responds as `aiohttp_handler` does, and with 405 to anything but POST.

    Examples:
        >>> app = asgi_app(print, "the secret", require_timestamp=True)
    """
    secrets = veiled_secrets(secret)
    del secret
    receiver = _Receiver(on_event, check_secrets(secrets), require_timestamp)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"only http is supported, not {scope['type']}")
        status = await _asgi_status(scope, receive, receiver)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _asgi_status(scope: Scope, receive: Receive, receiver: "_Receiver") -> int:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if scope["method"] != "POST":
        return 405
    if headers.get("content-encoding"):
        return 415
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return 400
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            return 413
    return await receiver.status(bytes(body), headers)


@frozen
class _Receiver:
    """The common part of both ready-made handlers."""

    on_event: OnEvent = field(validator=arguments.validator(arguments.function))
    keys: list[bytes] = field(repr=False)
    require_timestamp: bool = field(validator=arguments.validator(arguments.flag))

    async def status(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Verify the body, parse it and call the handler; return the HTTP status of the response."""
        try:
            verify(body, headers, self.keys, require_timestamp=self.require_timestamp)
        except WebhookSignatureError as error:
            _log.warning("refused a delivery: %s", error)
            return 401
        try:
            event = parse(body)
        except Exception as error:
            _log.warning("a signed delivery is not a valid event: %s", error)
            return 400
        try:
            await _call(self.on_event, event)
        except Exception:
            _log.exception(
                "the handler failed for run %s; the service will deliver the event again", event.run_id
            )
            return 500
        return 204


async def _call(handler: OnEvent, event: WebhookEvent) -> None:
    answer = handler(event)
    if inspect.isawaitable(answer):
        await answer
