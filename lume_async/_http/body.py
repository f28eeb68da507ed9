"""Reads response bodies, whole up to a limit or only their beginning, and decompresses them."""

import zlib
from collections.abc import Coroutine
from typing import Any

import aiohttp

from lume_async._http.inflate import CODINGS, Inflater
from lume_async._wire.answers import ERROR_BYTES
from lume_async._wire.headers import CONTENT_ENCODING, REQUEST_ID
from lume_async.errors import ApiConnectionError, ResponseDecodeError

_CHUNK = 64 * 1024
_REGISTERED = frozenset({"aes128gcm", "br", "compress", "dcb", "dcz", "exi", "x-compress", "zstd"})
"""Registered content codings (RFC 9110 §8.4.1) that are not supported."""


def arrived(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Return the body if it arrived completely with the headers, as small ones do; the connection is then free again.

    Raises:
        ResponseDecodeError: it is larger than `limit`.
    """
    if response.connection is not None or CONTENT_ENCODING in response.headers:
        return None
    body = response.content.read_nowait()
    if len(body) > limit:
        raise _too_large(response, limit)
    return body


def whole(response: aiohttp.ClientResponse, limit: int) -> Coroutine[Any, Any, bytes]:
    """Return the decoded body, with never more than `limit` bytes in memory.

    Raises:
        ResponseDecodeError: it is larger, or in an encoding that was not requested.
        ApiConnectionError: a compressed body was truncated.
    """
    length = response.content_length
    if CONTENT_ENCODING in response.headers or length is None:
        return _decoded(response, limit)
    if length > limit:
        raise _too_large(response, limit)
    return response.read()


def refuse_encoded(response: aiohttp.ClientResponse) -> None:
    """Raise `ResponseDecodeError` if the body, which is passed on as it is, has an encoding."""
    if _encoding(response) != "identity":
        raise _unrequested(response)


def left_behind(response: aiohttp.ClientResponse) -> bytes:
    """Return the unread data from before the connection broke; aiohttp would raise the error instead."""
    return response.content._read_nowait(-1)


async def beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return the first part of an error's body, enough to explain it; empty if it can't be read."""
    encoding = _encoding(response)
    inflater = Inflater(encoding) if encoding in CODINGS else None
    try:
        return (await _gather(response, ERROR_BYTES, inflater))[:ERROR_BYTES]
    except (aiohttp.ClientError, ResponseDecodeError):
        return b""  # the status alone decides the error


async def _decoded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    encoding = _encoding(response)
    if encoding == "identity":
        body, cut = await _gather(response, limit, None), False
    elif encoding in CODINGS:
        inflater = Inflater(encoding)
        body = await _gather(response, limit, inflater)
        cut = not inflater.complete
    else:
        raise _unrequested(response)
    if len(body) > limit:
        raise _too_large(response, limit)
    if cut:
        raise ApiConnectionError("the compressed body was truncated", status_code=response.status)
    return body


def _encoding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get(CONTENT_ENCODING, "identity").strip().lower()


def _unrequested(response: aiohttp.ClientResponse) -> ResponseDecodeError:
    """Return an error that names the encoding only if it is registered: other text may repeat the API key."""
    encoding = _encoding(response)
    named = f"the encoding {encoding!r}" if encoding in _REGISTERED | CODINGS else "an unknown encoding"
    return ResponseDecodeError(
        f"the response has {named}, which was not requested", status_code=response.status, retryable=False
    )


async def _gather(response: aiohttp.ClientResponse, limit: int, inflater: Inflater | None) -> bytes:
    """Return up to `limit` + 1 decoded bytes: the additional byte shows that the body is too large."""
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
        f"the body does not match its Content-Encoding: {reason}", status_code=response.status
    )


def _too_large(response: aiohttp.ClientResponse, limit: int) -> ResponseDecodeError:
    return ResponseDecodeError(
        f"the response is larger than max_response_bytes={limit:,} and was discarded",
        status_code=response.status,
        request_id=response.headers.get(REQUEST_ID),
        retryable=False,
    )
