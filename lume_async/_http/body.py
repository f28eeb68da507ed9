"""Reads response bodies, whole up to a limit or only their beginning, and decompresses them."""

import zlib
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import aiohttp

from lume_async._wire.answers import ERROR_BYTES
from lume_async._wire.headers import CONTENT_ENCODING, REQUEST_ID
from lume_async.errors import ApiConnectionError, ResponseDecodeError

CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
"""RFC 9110 §8.4.1: `x-gzip` is equivalent to `gzip`."""

_GZIP, _ZLIB, _RAW = 31, 15, -15

_CHUNK = 64 * 1024
_REGISTERED = frozenset({"aes128gcm", "br", "compress", "dcb", "dcz", "exi", "x-compress", "zstd"})
"""Registered content codings (RFC 9110 §8.4.1) that are not supported."""


class Inflater:
    """Decompresses a body in pieces of limited size.

    A gzip body may consist of several members (RFC 1952 §2.2). `deflate` means the zlib format, but some servers
    omit its two-byte header, and browsers accept both.

    Attributes:
        complete: whether compressed data may end here.
    """

    def __init__(self, coding: str) -> None:
        self._window = _ZLIB if coding == "deflate" else _GZIP
        self._inflater: zlib._Decompress | None = None
        self._waiting = b""  # too short to show the kind of deflate
        self.complete = True

    def decompress(self, data: bytes, room: int) -> bytes:
        """Decompress up to `room` more bytes. Raises `zlib.error` if the data does not match the announced coding."""
        data = self._waiting + data
        if self._inflater is None and self._window == _ZLIB:
            if len(data) < 2:
                self._waiting = data
                self.complete = not data
                return b""
            self._waiting = b""
            # A zlib header has the method 8, and its two bytes are a multiple of 31 (RFC 1950 §2.2).
            if data[0] & 0x0F != 8 or (data[0] << 8 | data[1]) % 31:
                self._window = _RAW
        out = bytearray()
        while data and len(out) < room:
            if self._inflater is None or self._inflater.eof:
                if not data.strip(b"\0"):  # padding after the last member
                    break
                self._inflater = zlib.decompressobj(self._window)
            out += self._inflater.decompress(data, room - len(out))
            data = self._inflater.unused_data
        if self._inflater is not None:
            self.complete = self._inflater.eof
        return bytes(out)


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
    """Return the decoded body, never more than `limit` bytes. Raises `ResponseDecodeError`, `ApiConnectionError`."""
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
    content = response.content
    with suppress(Exception):  # it may not be possible in every aiohttp; then this part is read again
        content.set_exception(None)  # type: ignore[arg-type]
        return content.read_nowait()
    return b""


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
