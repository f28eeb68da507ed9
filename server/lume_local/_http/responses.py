"""Replies as aiohttp responses: documents and problems with their headers, files and streams in blocks.

Outputs may be larger than memory. A body is a file, the rest of a file that a client already has in part, or a stream
that is read while it is sent.
"""

import asyncio
import base64
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from io import BufferedReader

import orjson
from aiohttp import web

from lume_async._base.words import counted
from lume_local._http import requests
from lume_local._http.contract import CAPABILITIES
from lume_local._http.exchange import Output, Problem, Reply
from lume_local._shared import no_links
from lume_local._shared.identity import identity

_MORE_HEADERS = {
    401: {"WWW-Authenticate": 'ApiKey realm="lume", Bearer realm="lume"'},
    429: {"Retry-After": "5"},
    503: {"Retry-After": "1"},
}


def problem_answer(problem: Problem) -> Reply:
    more = _MORE_HEADERS.get(problem.status, {})
    if problem.retry_after is not None:
        more = {"Retry-After": str(problem.retry_after)}
    return Reply(problem.status, problem.document, {**problem.headers, **more}, "application/problem+json")


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


_log = logging.getLogger("lume_local")
_BLOCK = 256 * 1024
_WRITE_LIMIT = 60.0
"""Seconds in which a client must accept a block of a stream."""
_DIGESTS = 1000
"""The number of checksums in the cache."""
_QUICK = 64 * 1024 * 1024
"""The maximum size of a file whose checksum is sent unasked: computing it takes less than a tenth of a second."""

_digests: OrderedDict[tuple[str, str], str] = OrderedDict()


async def sent(request: web.BaseRequest, output: Output, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send a file, or a part of it, as the response. Raises `Problem` before anything is sent."""
    with await asyncio.to_thread(_opened, output) as file:
        size = os.fstat(file.fileno()).st_size
        tag = f'"{output.identity}"'
        if requests.matches(request.headers.getall("If-None-Match", []), tag):
            return web.Response(status=304, headers={**headers, "ETag": tag})
        first, last = _range(request, size, tag)
        is_part = (first, last) != (0, size)
        response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
        response.headers.update({"ETag": tag, "Accept-Ranges": "bytes"})
        if is_part:
            response.headers["Content-Range"] = f"bytes {first}-{last - 1}/{size}"
        if size <= _QUICK or "sha-256" in request.headers.get("Want-Repr-Digest", "").lower():
            place = str(output.path), output.identity
            if place not in _digests:
                found = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
                _digests[place] = f"sha-256=:{base64.b64encode(found.digest()).decode()}:"
                while len(_digests) > _DIGESTS:
                    _digests.popitem(last=False)
            response.headers["Repr-Digest"] = _digests[place]  # of the whole file (RFC 9530)
        left = response.content_length = last - first
        await response.prepare(request)
        await asyncio.to_thread(file.seek, first)
        while left and request.method != "HEAD":
            block = await asyncio.to_thread(_read, file, min(left, _BLOCK))
            left -= len(block)
            await response.write(block)
        return response


async def streamed(
    request: web.BaseRequest, blocks: AsyncGenerator[bytes, None], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send the blocks as the response. If one can't be read, the connection is closed before the end of the body."""
    response = web.StreamResponse(status=200, headers=headers)
    async with aclosing(blocks):
        await response.prepare(request)
        try:
            if request.method == "HEAD":
                return response
            async for block in blocks:
                for start in range(0, len(block), _BLOCK):
                    async with asyncio.timeout(_WRITE_LIMIT):
                        await response.write(memoryview(block)[start : start + _BLOCK])
        except TimeoutError:
            raise ConnectionError(f"the client took nothing for {_WRITE_LIMIT:g} s") from None
        except Problem as problem:
            detail = problem.document["detail"]
            _log.warning("a stream of rows broke off: %s", detail)
            raise ConnectionError(f"the rest can't be read: {detail}") from None
    return response


def _range(request: web.BaseRequest, size: int, tag: str) -> tuple[int, int]:
    """Return the first byte to send and the one after the last. An unreadable range is ignored (RFC 9110, 14.2)."""
    if request.headers.get("If-Range", tag) != tag or "Range" not in request.headers:
        return 0, size
    try:
        wanted = request.http_range
    except ValueError:
        return 0, size
    if wanted.start is not None and wanted.start >= size:
        found = {"Content-Range": f"bytes */{size}"}
        raise Problem("invalid-range", f"the file has {counted(size, 'byte')}", found)
    first, last, _ = wanted.indices(size)
    return first, last


def _read(file: BufferedReader, size: int) -> bytes:
    """Return the next bytes. After the headers, an error can only be reported by closing the connection."""
    try:
        block = file.read(size)
    except OSError as error:
        raise ConnectionError(f"the file can no longer be read: {error}") from None
    if not block:
        raise ConnectionError("the file became shorter while it was sent")
    return block


def _opened(output: Output) -> BufferedReader:
    path = output.path
    try:
        # Without O_NONBLOCK, opening a FIFO at that path would block.
        file = os.fdopen(no_links.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except OSError as error:
        raise Problem("output-gone", f"{path} can't be read: {error.strerror or error}") from None
    if output.identity != identity(file.fileno()):
        file.close()
        raise Problem("output-changed", f"{path} has been changed since the run wrote it")
    return file
