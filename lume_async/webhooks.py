"""Webhooks, safe by default: `verify` the raw body and `parse` it, or use a ready-made handler that does both.

The service sends a POST request to your URL when a run ends. `X-Lume-Signature-256` is the HMAC-SHA256 of the raw
body under your secret, in hex, with or without `sha256=` in front. The body is only a hint: fetch the run before you
act on it. The same event may arrive twice, and late: `Once` runs your handler once for each.
"""

import asyncio
import hashlib
import hmac
import inspect
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, field, frozen

from lume_async._base.public import public_in
from lume_async._decoding import structure
from lume_async._wire.answers import decode_object
from lume_async.errors import ConfigurationError, WebhookSignatureError
from lume_async.models import RunStatus, check_run_id

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

SIGNATURE_HEADER = "X-Lume-Signature-256"
LARGEST_BODY = 1024 * 1024
"""The largest body, in bytes, that the ready-made handlers accept."""

Secrets: TypeAlias = str | bytes | Iterable[str | bytes]
"""One secret, or several during a rotation."""

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SIGNATURE = re.compile(rb"(?:sha256=)?([0-9a-fA-F]{64})")
_log = logging.getLogger("lume.webhooks")
_public = public_in("lume_async.webhooks")


@_public
@frozen
class WebhookEvent:
    """The content of a delivery: which run ended, and how. `raw` is the whole body, including unknown keys."""

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
def verify(body: bytes, signature: str | bytes, secret: Secrets) -> None:
    """Check that the body was signed with the secret, or with one of several.

    Args:
        body: the raw request body, byte for byte, before any JSON parser has touched it.
        signature: the header `X-Lume-Signature-256`: 64 hex digits, with or without `sha256=` in front.
        secret: your secret, or the old and the new one during a rotation. All are compared, in constant time.

    Raises:
        WebhookSignatureError: the signature is missing, malformed or wrong.
        ConfigurationError: no secret was given, or an empty one.
        TypeError: the body is not bytes.
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"verify() needs the raw body as bytes, not {type(body).__name__}")
    keys = _keys(secret)
    given = signature if isinstance(signature, bytes) else str(signature).encode("utf-8", "replace")
    found = _SIGNATURE.fullmatch(given.strip())
    if found is None:
        state = "malformed" if given.strip() else "missing"
        raise WebhookSignatureError(f"the header {SIGNATURE_HEADER} is {state}: do not trust the body")
    wanted = found[1].lower()
    matches = [
        hmac.compare_digest(hmac.new(key, body, hashlib.sha256).hexdigest().encode(), wanted) for key in keys
    ]
    if not any(matches):
        raise WebhookSignatureError("the signature does not match the body: do not trust it")


@_public
def parse(body: bytes) -> WebhookEvent:
    """Parse a body that was verified.

    Raises:
        ResponseDecodeError: the body violates the API contract; the message says where.
    """
    raw = decode_object(bytes(body))
    event = structure(raw, WebhookEvent)
    check_run_id(event.run_id)
    return evolve(event, raw=raw)


@_public
class Once:
    """Runs a handler once per event (run and status) in this process; pass it to a ready-made handler.

    An event counts as handled when the handler has returned; after an exception the handler runs again at the next
    delivery. Concurrent deliveries of the same event share one run of the handler.

    Args:
        handler: your handler.
        remember: how many events are remembered at most; the oldest are forgotten first.
    """

    def __init__(self, handler: OnEvent, *, remember: int = 10_000) -> None:
        self._handler = handler
        self._remember = remember
        self._handled: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._running: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def __call__(self, event: WebhookEvent) -> None:
        """Handle the event, unless it was handled before.

        Raises:
            Exception: whatever the handler raised.
        """
        key = (event.run_id, str(event.status))
        if key in self._handled:
            return
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(_call(self._handler, event))
            running.add_done_callback(lambda done: self._finished(key, done))
        # A delivery whose connection breaks must not take the handler away from the others.
        await asyncio.shield(running)

    def _finished(self, key: tuple[str, str], done: "asyncio.Future[None]") -> None:
        del self._running[key]
        if not done.cancelled() and done.exception() is None:
            self._handled[key] = None
            if len(self._handled) > self._remember:
                self._handled.popitem(last=False)


@_public
def aiohttp_handler(on_event: OnEvent, secret: Secrets) -> "Callable[[web.Request], Awaitable[web.Response]]":
    """A handler for `aiohttp.web`; add it with `add_post`.

    It responds 204 when `on_event` has returned, 401 if the signature is wrong, 400 if the body is not an event, 413
    and 415 if it is too large or compressed, and 500 if `on_event` raised: then the service delivers again.

    Raises:
        ConfigurationError: no secret was given, or an empty one.
    """
    keys = _keys(secret)

    async def handle(request: "web.Request") -> "web.Response":
        from aiohttp import web

        if request.headers.get("Content-Encoding"):
            return web.Response(status=415)
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > LARGEST_BODY:
                return web.Response(status=413)
        status = await _receive(bytes(body), request.headers.get(SIGNATURE_HEADER, ""), keys, on_event)
        return web.Response(status=status)

    return handle


@_public
def asgi_app(on_event: OnEvent, secret: Secrets) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application; mount it as in `Mount("/lume", app=…)`. Its address then ends with a slash, `…/lume/`.

    It responds as `aiohttp_handler` does, and with 405 to anything but POST.

    Raises:
        ConfigurationError: no secret was given, or an empty one.
    """
    keys = _keys(secret)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"only http is received here, not {scope['type']}")
        status = await _asgi_status(scope, receive, keys, on_event)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return app


async def _asgi_status(scope: Scope, receive: Receive, keys: list[bytes], on_event: OnEvent) -> int:
    headers = {name.lower(): value for name, value in scope["headers"]}
    if scope["method"] != "POST":
        return 405
    if headers.get(b"content-encoding"):
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
    return await _receive(bytes(body), headers.get(SIGNATURE_HEADER.lower().encode(), b""), keys, on_event)


async def _receive(body: bytes, signature: str | bytes, keys: list[bytes], on_event: OnEvent) -> int:
    """Verify before anything else looks at the body; returns the status to answer."""
    try:
        verify(body, signature, keys)
    except WebhookSignatureError as error:
        _log.warning("a delivery was refused: %s", error)
        return 401
    try:
        event = parse(body)
    except Exception as error:
        _log.warning("a signed delivery is no event: %s", error)
        return 400
    try:
        await _call(on_event, event)
    except Exception:
        _log.exception("the handler failed for run %s: it is to be delivered again", event.run_id)
        return 500
    return 204


async def _call(handler: OnEvent, event: WebhookEvent) -> None:
    answer = handler(event)
    if inspect.isawaitable(answer):
        await answer


def _keys(secret: Secrets) -> list[bytes]:
    secrets = [secret] if isinstance(secret, (str, bytes)) else list(secret)
    keys = [item.encode() if isinstance(item, str) else item for item in secrets]
    if not keys or any(not key.strip() for key in keys):
        raise ConfigurationError("a webhook secret is empty: then anybody could sign; set a real one")
    return keys
