"""HTTP around the operations: access, the bodies of requests, and errors as problems."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, cast

from aiohttp import web

from lume_local._http.access.keys import KEY_HEADER, OWN, ApiKeys, Holder, Role
from lume_local._http.access.limits import Quotas, WrongKeys
from lume_local._http.access.tokens import Tokens
from lume_local._http.exchange import Ask, BodyStream, Problem, Reply, odd_problem, unavailable_problem
from lume_local._http.queries import Pairs, parameter_problem
from lume_local._http.requests import MOST_BYTES, MOST_OPEN_BYTES
from lume_local._http.responses import headers_of, problem_answer, response_of, sent, streamed
from lume_local._http.routes import Operation, Operations, Route, router, routes
from lume_local._http.telemetry import RequestInfo
from lume_local._runs.store.records import StoreUnavailable

_log = logging.getLogger("lume_local")

_REPEATABLE = ("status", "by", "reason")
"""The query parameters that may be given several times."""
BODY_LIMIT = 60.0
"""Seconds for the body of a request, except uploads."""
CHUNK_LIMIT = 60.0
"""Seconds without data after which an upload is ended."""


class Front:
    """Handles requests by calling the operations.

    Args:
        keep: how many seconds an idempotency key is kept; None for ever.
    """

    def __init__(self, operations: Operations, keys: ApiKeys, tokens: Tokens, keep: float | None) -> None:
        self._api, self._console, self._watch = operations.runs, operations.console, operations.watch
        self._headers = {} if keep is None else {"Lume-Idempotency-Expires": str(int(keep))}
        table = routes(operations)
        self._router, self._routes = router(table), {route.operation: route for route in table}
        # Below some paths nothing needs a key, even where there is nothing.
        free = [route.path for route in table if route.role is None]
        self._open = {path for path in free if "{" not in path}
        self._open_below = tuple(path.partition("{")[0] for path in free if "{" in path)
        self._keys, self._tokens, self._wrong_keys, self._quotas = keys, tokens, WrongKeys(), Quotas()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request. Raises nothing, unless it is cancelled because the client disconnected."""
        begun, request_id = time.perf_counter(), secrets.token_hex(16)
        seen = RequestInfo(request.method, request_id)
        response = await self._responded(request, seen)
        self._watch.request(seen, response.status, time.perf_counter() - begun)
        return response

    async def _responded(self, request: web.BaseRequest, seen: RequestInfo) -> web.StreamResponse:
        request_id = seen.request_id
        try:
            answer = await self._settled(request, seen)
            if answer.file is not None:
                return await sent(request, answer.file, headers_of(answer, request_id, self._headers))
            if answer.stream is not None:
                return await streamed(request, answer.stream, headers_of(answer, request_id, self._headers))
        except Problem as problem:
            answer = problem_answer(problem)
        except web.HTTPException as error:
            answer = problem_answer(odd_problem(error.status, error.reason))
        except ConnectionError:
            raise
        except Exception:
            _log.exception("request %s: internal error of the server", request_id)
            answer = problem_answer(Problem("internal", f"see the server's log for request {request_id}"))
        return response_of(answer, request_id, self._headers)

    async def _settled(self, request: web.BaseRequest, seen: RequestInfo) -> Reply:
        """Return the reply once the state that it shows is durable."""
        try:
            answer = await self._answer(request, seen)
        except Problem as problem:
            answer = problem_answer(problem)
        except StoreUnavailable as error:
            answer = problem_answer(unavailable_problem(error))
        await self._api.settled()
        return answer

    async def _answer(self, request: web.BaseRequest, seen: RequestInfo) -> Reply:
        path = request.path
        is_open = path in self._open or path.startswith(self._open_below)
        holder = OWN if is_open else await self._authenticated(request)
        seen.key = None if is_open else holder.name
        match = await self._router.resolve(cast(Any, request))
        error = match.http_exception
        if isinstance(error, web.HTTPMethodNotAllowed):
            allowed = ", ".join(sorted(error.allowed_methods))
            words = f"{path} takes {allowed}, not {request.method}"
            raise Problem("method-not-allowed", words, {"Allow": allowed})
        if error is not None:
            raise Problem("not-found", f"there is nothing at {path}: the paths are listed in /openapi.yaml")
        assert match.route.resource is not None
        seen.route = match.route.resource.canonical
        route = self._routes[cast(Operation, match.handler)]
        if route.role is not None and holder.role < route.role:
            raise Problem(
                "forbidden",
                f"this needs a key with the role {route.role.name.lower()}, and {holder.name!r} has the role "
                f"{holder.role.name.lower()}",
            )
        rate = holder.submissions_per_minute
        if route.is_submission and rate is not None and (wait := self._quotas.wait((holder.owner, rate))):
            raise Problem(
                "too-many-submissions",
                f"the entry of {holder.name!r} has submissions_per_minute = {rate}: try again in {wait} s",
                retry_after=wait,
            )
        query = [*request.query.items()] if request.rel_url.raw_query_string else []
        _check_parameters(route, query)
        most = None if route.is_streamed else MOST_OPEN_BYTES if is_open else MOST_BYTES
        return await route.operation(await _ask(request, dict(match), query, most, holder))

    async def _authenticated(self, request: web.BaseRequest) -> Holder:
        """Return the holder of the request's key, session or token. Raises `Problem`."""
        keys = request.headers.getall(KEY_HEADER, [])
        if len(keys) > 1:
            raise Problem("malformed-request", f"{KEY_HEADER} is given more than once: send one key")
        text = "".join(keys)
        if not keys:
            visitor = self._console.holder(request.headers)
            if visitor is not None:
                return visitor
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() == "bearer" and token.count(".") == 2 and self._keys.grants:
                try:
                    return await self._tokens.holder(token.strip(), self._keys.grants)
                except Problem as problem:
                    if problem.status == 401:
                        await self._slow_down()
                    raise
            if request.path == "/metrics" and scheme.lower() == "bearer":
                text = token  # Prometheus sends its key this way
        holder = self._keys.holder(text.encode("utf-8", "surrogateescape"))
        if holder is None:
            if text:
                await self._slow_down()
                raise Problem("unauthorized", "the API key that was sent is not one of this server's keys")
            raise Problem("unauthorized", f"send the server's API key in the header {KEY_HEADER}")
        return holder

    async def _slow_down(self) -> None:
        """Wait until one more wrong key may be answered. Raises `Problem` if that would take too long."""
        delay = self._wrong_keys.delay()
        if delay is None:
            raise Problem(
                "too-many-wrong-keys", "too many requests had a wrong API key: correct it, and try later"
            )
        if delay:
            await asyncio.sleep(delay)


def _check_parameters(route: Route, query: Pairs) -> None:
    """Refuse unknown and repeated query parameters. Raises `Problem`."""
    if route.parameters is None or not query:
        return
    seen = set[str]()
    for name, _ in query:
        if name not in route.parameters:
            known = ", ".join(route.parameters) or "none"
            raise Problem("invalid-query", f"{name!r} is not a parameter here; there are {known}")
        if name in seen and name not in _REPEATABLE:
            raise parameter_problem(name, "is given twice")
        seen.add(name)


async def _ask(
    request: web.BaseRequest, path: dict[str, str], query: Pairs, most: int | None, holder: Holder
) -> Ask:
    """Return the request with a body of at most `most` bytes; if that is None, the operation reads the body."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem("unsupported-encoding", "send the body as it is, without Content-Encoding")
    return Ask(
        path=path,
        query=query,
        body=b"" if most is None else await _body(request, most),
        headers=request.headers,
        holder=holder.name,
        is_admin=holder.role is Role.ADMIN,
        owner=holder.owner,
        peer=request.remote or "",
        content=None if most is not None else _stream(request),
    )


def _stream(request: web.BaseRequest) -> BodyStream:
    def left() -> bytes:
        # Unread data from before the connection broke, in whose place aiohttp would raise the error.
        request.content.set_exception(None)  # type: ignore[arg-type]
        return request.content.read_nowait()

    return BodyStream(_chunks(request), request.content_length, left)


async def _body(request: web.BaseRequest, most: int) -> bytes:
    if not request.body_exists:  # a timeout costs as much as the rest of an `Ask`
        return b""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT):
            while len(body) <= most and (chunk := await request.content.readany()):
                body += chunk
    except TimeoutError:
        words = f"the body did not arrive within {BODY_LIMIT:g} s: send the request again"
        raise Problem("request-timeout", words) from None
    if len(body) > most:
        raise Problem("too-large", f"a body has at most {most:,} bytes here")
    return bytes(body)


async def _chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    if request.headers.get("Expect", "").lower() == "100-continue":
        # Not earlier, so that a request whose headers are refused never sends its body.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    while True:
        try:
            async with asyncio.timeout(CHUNK_LIMIT):
                chunk = await request.content.readany()
        except TimeoutError:
            words = f"nothing of the body arrived for {CHUNK_LIMIT:g} s: send the request again"
            raise Problem("request-timeout", words) from None
        if not chunk:
            return
        yield chunk
