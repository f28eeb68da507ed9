"""HTTP around the operations: routes, the API key, the headers that every answer carries, errors as problems."""

import hmac
import http
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from attrs import frozen

from lume_local._http.operations import CAPABILITIES, Answer, Api, Ask, Content
from lume_local._http.problems import TYPE, Problem
from lume_local._http.requests import MOST_BYTES
from lume_local._runs.waiters import Hub

_log = logging.getLogger("lume_local")

_KEY_HEADER = "lume-api-key"
Operation = Callable[[Ask], Awaitable[Answer]]


@frozen
class _Route:
    pattern: re.Pattern[str]
    operations: dict[str, Operation]
    is_streamed: bool
    """Whether bodies are given to the operations as they come, instead of read first."""


def _routes(api: Api) -> list[_Route]:
    run, flow = r"/v1/runs/(?P<run_id>[^/]+)", r"/v1/flows/(?P<flow>[^/]+)/versions/(?P<version>[^/]+)"
    uploads = r"/v1/uploads/(?P<name>[^/]+)"
    table: dict[str, dict[str, Operation]] = {
        "/healthz": {"GET": api.health},
        "/v1/runs": {"GET": api.list, "POST": api.submit},
        run: {"GET": api.status},
        f"{run}/cancel": {"POST": api.cancel},
        "/v1/changes": {"GET": api.changes},
        flow: {"GET": api.get_flow, "PUT": api.put_flow},
        f"{flow}/schema": {"GET": api.get_schema},
        uploads: {"PUT": api.upload},
    }
    return [
        _Route(re.compile(pattern), operations, is_streamed=pattern == uploads)
        for pattern, operations in table.items()
    ]


class Front:
    """Takes requests, asks the operations, sends answers."""

    def __init__(self, api: Api, api_key: str) -> None:
        self._api = api
        self._routes = _routes(api)
        self._api_key = api_key.encode()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request. Never raises, except where it is cancelled because its client has gone."""
        request_id = uuid.uuid4().hex
        try:
            answer = await self._settled(request)
        except web.HTTPRequestEntityTooLarge:
            answer = _problem_answer(Problem("too-large", f"a body has at most {MOST_BYTES:,} bytes"))
        except web.HTTPException as error:
            answer = _problem_answer(_odd(error.status, error.reason))
        except ConnectionError:
            raise
        except Exception:
            _log.exception("request %s met an error of the server itself", request_id)
            answer = _problem_answer(Problem("internal", f"see the server's log for request {request_id}"))
        return _response(answer, request_id)

    async def _settled(self, request: web.BaseRequest) -> Answer:
        """An answer, once what it says is durable."""
        try:
            answer = await self._answer(request)
        except Problem as problem:
            answer = _problem_answer(problem)
        await self._api.settled()
        return answer

    async def _answer(self, request: web.BaseRequest) -> Answer:
        path = request.path
        if path != "/healthz":
            self._authenticate(request)
        for route in self._routes:
            match = route.pattern.fullmatch(path)
            if match is None:
                continue
            method = "GET" if request.method == "HEAD" else request.method
            if method not in route.operations:
                allowed = ", ".join(route.operations)
                problem = Problem("method-not-allowed", f"{path} takes {allowed}, not {request.method}")
                return _problem_answer(problem, {"Allow": allowed})
            return await route.operations[method](await _ask(request, match.groupdict(), route.is_streamed))
        raise Problem("not-found", f"there is nothing at {path[:200]}: the paths are listed in openapi.yaml")

    def _authenticate(self, request: web.BaseRequest) -> None:
        given = request.headers.get(_KEY_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._api_key):
            raise Problem("unauthorized", f"send the server's API key in the header {_KEY_HEADER}")


async def _ask(request: web.BaseRequest, path: dict[str, Any], is_streamed: bool) -> Ask:
    return Ask(
        path=path,
        query=list(request.query.items()),
        body=await request.read() if request.can_read_body and not is_streamed else b"",
        prefer=request.headers.getall("Prefer", []),
        if_none_match=request.headers.getall("If-None-Match", []),
        idempotency_key=request.headers.get("Idempotency-Key"),
        content=_content(request) if is_streamed else None,
    )


def _content(request: web.BaseRequest) -> Content:
    return Content(_chunks(request), request.content_length, request.headers.get("Content-Encoding"))


async def _chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    if request.headers.get("Expect", "").lower() == "100-continue":
        # Only here: a request that is refused by its head is refused before its body is sent.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    async for chunk in request.content.iter_any():
        yield chunk


def _odd(status: int, reason: str) -> Problem:
    """An error of HTTP itself as a problem of its own status."""
    problem = Problem("malformed-request", reason)
    problem.status = status
    problem.document |= {"status": status, "title": http.HTTPStatus(status).phrase}
    return problem


def _problem_answer(problem: Problem, headers: dict[str, str] | None = None) -> Answer:
    more = (
        {"WWW-Authenticate": 'ApiKey realm="lume"'}
        if problem.document["type"] == f"{TYPE}unauthorized"
        else {}
    )
    return Answer(problem.status, problem.document, {**(headers or {}), **more}, "application/problem+json")


def _response(answer: Answer, request_id: str) -> web.Response:
    headers = {
        **answer.headers,
        "X-Request-Id": request_id,
        "Lume-Capabilities": CAPABILITIES,
        "Cache-Control": "no-store",
        "Server": "lume_local",
    }
    if answer.document is None:
        return web.Response(status=answer.status, headers=headers)
    headers["Content-Type"] = answer.content_type
    return web.Response(status=answer.status, headers=headers, body=orjson.dumps(answer.document))


class _Connection(web.RequestHandler):
    """One connection; answers that aiohttp makes by itself (a request that is no HTTP) are problems, too."""

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
            _log.error("an error of the server itself", exc_info=exc)
            problem = Problem("internal", "see the server's log")
        else:
            problem = _odd(status, message or "this is not HTTP/1.1")
        response = _response(_problem_answer(problem), uuid.uuid4().hex)
        response.force_close()
        return response


class _Acceptor(web.Server):
    """Makes a `_Connection` for each connection."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Listener:
    """The listening socket. `open` it, `close` it."""

    def __init__(self, front: Front, hub: Hub) -> None:
        self._front = front
        self._hub = hub
        self._runner: web.ServerRunner | None = None

    async def open(self, host: str, port: int) -> str:
        """Start to listen; the base URL. Raises OSError where the address can't be used."""
        acceptor = _Acceptor(self._front.handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(acceptor, handle_signals=False, shutdown_timeout=5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address = self._runner.addresses[0]
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{address[1]}"

    async def close(self) -> None:
        """Stop to listen, answer those that wait, end the connections."""
        self._hub.close()
        if self._runner is not None:
            await self._runner.cleanup()
