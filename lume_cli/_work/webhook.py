"""A webhook receiver that prints deliveries and forwards them to another one. Used by `webhook listen`."""

import logging
import re
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
import anyio
import click
from aiohttp import web
from attrs import frozen
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from lume_async import webhooks
from lume_async._base.words import counted
from lume_cli._output import exit_codes
from lume_cli._output.text import moment, visible
from lume_cli._session import CommandSession

_log = logging.getLogger("lume.cli")
"""Silent without -v: a peer that does not speak HTTP must not print a traceback."""
_PATIENCE = 30.0
"""Timeout for one request with its body, in seconds."""
_GRACE = 1.0
"""Seconds that requests in flight get at shutdown."""
_FORWARD_PATIENCE = 8.0
"""Timeout for the user's receiver in seconds; the embedded server waits 10."""
_LARGEST_ANSWER = 65536
_NOT_PASSED_ON = (
    *("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"),
    *("Host", "Content-Length", "Expect"),
)
_DELIVERY_HEADER = "X-Lume-Delivery"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@frozen
class _Delivery:
    """A request, byte for byte, and the verdict of the library's handler.

    Attributes:
        id: the server's delivery id, the same for each attempt; None if missing.
        body: the part of the raw body that was read.
        status: the handler's response status: 204, or a rejection.
        event: the event; None if rejected, since it can't be trusted.
    """

    at: datetime
    id: str | None
    body: bytes
    status: int
    event: webhooks.WebhookEvent | None
    reason: str | None


async def _receive(request: web.Request, secrets: Sequence[bytes]) -> _Delivery:
    """Read and verify a request as a user's own receiver would: with `webhooks.asgi_app`."""
    at, body, events, statuses = datetime.now(UTC), bytearray(), list[webhooks.WebhookEvent](), list[int]()

    async def next_part() -> dict[str, Any]:
        try:
            part = await request.content.readany()
        except Exception:  # the sender is gone, or does not speak HTTP
            return {"type": "http.disconnect"}
        body.extend(part)
        return {"type": "http.request", "body": part, "more_body": not request.content.at_eof()}

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(name.lower(), value) for name, value in request.raw_headers]
    scope = {"type": "http", "method": request.method, "headers": headers}
    await webhooks.asgi_app(events.append, secrets)(scope, next_part, answer)
    given = request.headers.get(_DELIVERY_HEADER, "")
    return _Delivery(
        at=at,
        id=given if _ID.fullmatch(given) else None,
        body=bytes(body),
        status=statuses[0],
        event=events[0] if events else None,
        reason=None if events else _reason(statuses[0], request, bytes(body), secrets),
    )


def _reason(status: int, request: web.Request, body: bytes, secrets: Sequence[bytes]) -> str:
    """Return the reason for a rejection; the sender only sees the status."""
    match status:
        case 405:
            return f"method {request.method}; deliveries are POST requests"
        case 413:
            return f"the body is larger than {webhooks.LARGEST_BODY:,} bytes"
        case 415:
            return "the body is compressed"
    try:
        webhooks.verify(body, request.headers, secrets)
        webhooks.parse(body)
    except Exception as error:
        return str(error)
    return "the body was cut off"


def _to_dict(delivery: _Delivery, answered: int, problem: str | None) -> dict[str, Any]:
    event = delivery.event
    return {
        "received_at": delivery.at.isoformat(),
        "delivery_id": delivery.id,
        "verified": event is not None,
        "reason": delivery.reason or problem,
        "status_code": answered,
        "run_id": event.run_id if event else None,
        "status": str(event.status) if event else None,
        "event": event.raw if event else None,
    }


class Forward:
    """Forwards verified deliveries, byte for byte. A context manager. Raises `click.BadParameter` for a wrong URL."""

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
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_FORWARD_PATIENCE),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
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
            return web.Response(status=502), f"the receiver did not respond within {_FORWARD_PATIENCE:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return web.Response(status=502), f"the receiver can't be reached: {error}"


class Listening:
    """One receiver; it stops after `wanted` verified and successfully answered deliveries; None: never."""

    def __init__(
        self,
        session: CommandSession,
        secrets: Sequence[bytes],
        *,
        wanted: int | None,
        forward: Forward | None,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._wanted = wanted
        self._forward = forward
        self._ended = anyio.Event()
        self._error: Exception | None = None
        self._begun = self._good = self._refused = 0
        self._documents: list[dict[str, Any]] = []

    async def until_ended(self, host: str, port: int, timeout: float | None) -> int:
        """Listen until enough deliveries arrived or the timeout; return the exit code."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, logger=_log, access_log=None, handle_signals=False, shutdown_timeout=_GRACE
        )
        async with AsyncExitStack() as stack:
            stack.callback(self._print_all)
            if self._forward is not None:
                await stack.enter_async_context(self._forward)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            # One address, IPv4 if the name has both.
            try:
                found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
                address = min(found, key=lambda each: each[0] != socket.AF_INET)[4][0]
                await web.TCPSite(runner, str(address), port).start()
            except OSError as error:
                raise click.ClickException(
                    f"can't listen on {host}:{port}: {error.strerror or error}; pass another --host or --port"
                ) from None
            url = f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}/"
            text = f"lume: listening; Ctrl-C to stop. Use this webhook_url:\n  {url}"
            self._session.say.record("listening", text, url=url)
            with anyio.move_on_after(timeout) as limit:
                await self._ended.wait()
            if limit.cancelled_caught:
                if self._wanted is None:
                    return exit_codes.OK
                fewer = (
                    f"fewer than {counted(self._wanted, 'delivery', 'deliveries')} within {timeout or 0:g} s"
                )
                text = f"{fewer}: {self.summary()}"
                self._session.say.problem("timeout", text, retryable=True)
                return exit_codes.TIMED_OUT
            if self._error is not None:
                raise self._error
        return exit_codes.OK

    def summary(self) -> str:
        refused = f", {self._refused:,} rejected" if self._refused else ""
        return f"{self._good:,} verified{refused}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            with anyio.move_on_after(_PATIENCE):
                return await self._take(request)
            return web.Response(status=408)
        except Exception as error:  # our output is closed, or a bug: ends the command
            self._error = self._error or error
            self._ended.set()
            return web.Response(status=500)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        delivery = await _receive(request, self._secrets)
        if delivery.event is None:
            self._refused += 1
            self._print(delivery, delivery.status)
            return web.Response(status=delivery.status)
        if self._begun == self._wanted:
            return web.Response(status=503)  # left to the next listener: the server delivers again
        self._begun += 1
        response, problem = web.Response(status=delivery.status), None
        if self._forward is not None:
            response, problem = await self._forward.send(request.headers, delivery.body)
        self._print(delivery, response.status, problem)
        if await _respond(request, response):
            self._good += 1
        else:
            self._begun -= 1
        if self._good == self._wanted:
            self._ended.set()
        return response

    def _print(self, delivery: _Delivery, answered: int, problem: str | None = None) -> None:
        data = self._session.data
        if data.format == "table":
            event = delivery.event
            if event is None:
                verdict = f"rejected with {answered}: {delivery.reason}"
            elif problem is not None:
                verdict = f"verified, answered {answered}: {problem}"
            else:
                verdict = "verified" if answered == delivery.status else f"verified, answered {answered}"
            run, status = (event.run_id, str(event.status)) if event else ("-", "-")
            data.line(visible("  ".join((moment(delivery.at), delivery.id or "-", run, status, verdict))))
        elif data.format == "ndjson":
            data.document(_to_dict(delivery, answered, problem))
        else:
            self._documents.append(_to_dict(delivery, answered, problem))

    def _print_all(self) -> None:
        if self._session.data.format == "json":
            self._session.data.document(self._documents)


async def _respond(request: web.Request, response: web.Response) -> bool:
    """Send the response now, before the command may end; return whether it was a success."""
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return False
    return 200 <= response.status < 300
