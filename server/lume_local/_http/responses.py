"""Replies as aiohttp responses: the headers of all of them, problems as documents."""

import orjson
from aiohttp import web

from lume_local._http.messages import Problem, Reply
from lume_local._http.operations import CAPABILITIES

_MORE_HEADERS = {
    401: {"WWW-Authenticate": 'ApiKey realm="lume", Bearer realm="lume"'},
    429: {"Retry-After": "5"},
    503: {"Retry-After": "1"},
}


def problem_answer(problem: Problem, headers: dict[str, str] | None = None) -> Reply:
    more = _MORE_HEADERS.get(problem.status, {})
    if problem.retry_after is not None:
        more = {"Retry-After": str(problem.retry_after)}
    every = {**problem.headers, **(headers or {}), **more}
    return Reply(problem.status, problem.document, every, "application/problem+json")


def headers_of(answer: Reply, request_id: str, every: dict[str, str] | None = None) -> dict[str, str]:
    headers = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # pages have their own
        **(every or {}),
        **answer.headers,
        "X-Request-Id": request_id,
        "Lume-Capabilities": CAPABILITIES,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Server": "lume_local",
    }
    bodies = (answer.document, answer.file, answer.stream)
    return headers | ({} if bodies == (None, None, None) else {"Content-Type": answer.content_type})


def response_of(answer: Reply, request_id: str, every: dict[str, str] | None = None) -> web.Response:
    headers = headers_of(answer, request_id, every)
    if answer.document is None:
        return web.Response(status=answer.status, headers=headers)
    document = answer.document
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return web.Response(status=answer.status, headers=headers, body=body)
