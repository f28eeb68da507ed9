"""Bodies of answers: read whole up to a limit, or only their beginning; the compressed ones undone."""

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
"""Content codings (RFC 9110 §8.4.1 and its registry) that are not undone here."""


def arrived(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The body where all of it came together with the headers, as a small one does, and the connection is free again.

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
    """The decoded body, never more than `limit` bytes of it in memory.

    Raises:
        ResponseDecodeError: it is larger, or in an encoding that was not asked for.
        ApiConnectionError: a compressed body was cut.
    """
    length = response.content_length
    if CONTENT_ENCODING in response.headers or length is None:
        return _decoded(response, limit)
    if length > limit:
        raise _too_large(response, limit)
    return response.read()


async def beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first part of an error's body: enough to explain it; whatever can't be read is left out."""
    encoding = _encoding(response)
    inflater = Inflater(encoding) if encoding in CODINGS else None
    try:
        return (await _gather(response, ERROR_BYTES, inflater))[:ERROR_BYTES]
    except (aiohttp.ClientError, ResponseDecodeError):
        return b""  # the status alone decides what it is


async def _decoded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    encoding = _encoding(response)
    if encoding == "identity":
        body, cut = await _gather(response, limit, None), False
    elif encoding in CODINGS:
        inflater = Inflater(encoding)
        body = await _gather(response, limit, inflater)
        cut = not inflater.complete
    else:
        raise ResponseDecodeError(
            f"the answer has {_named(encoding)}, which was not asked for",
            status_code=response.status,
            retryable=False,
        )
    if len(body) > limit:
        raise _too_large(response, limit)
    if cut:
        raise ApiConnectionError("the compressed body was cut", status_code=response.status)
    return body


def _encoding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get(CONTENT_ENCODING, "identity").strip().lower()


def _named(encoding: str) -> str:
    """The encoding, where it is a registered one; any other text of an answer may repeat the API key."""
    return f"the encoding {encoding!r}" if encoding in _REGISTERED else "an unknown encoding"


async def _gather(response: aiohttp.ClientResponse, limit: int, inflater: Inflater | None) -> bytes:
    """Up to `limit` + 1 decoded bytes: one more byte than the limit shows that there are more."""
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
        f"the body is not what its Content-Encoding says: {reason}", status_code=response.status
    )


def _too_large(response: aiohttp.ClientResponse, limit: int) -> ResponseDecodeError:
    return ResponseDecodeError(
        f"the answer is larger than max_response_bytes={limit:,}: it was dropped unread",
        status_code=response.status,
        request_id=response.headers.get(REQUEST_ID),
        retryable=False,
    )
