"""Answers as the suites of aiohttp, urllib3, botocore and http.client have them: legal but odd, or broken."""

import gzip
import json
import zlib
from dataclasses import dataclass

from lume_async.testing import run_json

DONE = json.dumps(run_json("run_1", "SUCCEEDED")).encode()
OTHER = json.dumps(run_json("run_evil", "SUCCEEDED")).encode()
"""What no request asked for: it must not become the answer to one."""

RUN = "the run"


@dataclass(frozen=True)
class Shape:
    """What a server sends for one request.

    Attributes:
        raw: every byte of it.
        ends: whether the connection is closed behind it; else it stays open, and whatever the client still waits
            for does not come.
        gives: `RUN`, or the class of the error and a few of its words.
        clean: whether nothing follows behind the answer.
        lenient: whether the oldest aiohttp that is supported still reads it.
    """

    raw: bytes
    gives: str
    ends: bool = False
    clean: bool = True
    lenient: bool = False

    @property
    def shown(self) -> str:
        """What `docs/design/odd-responses.md` says of it."""
        kind, _, words = self.gives.partition(": ")
        older = " (an older aiohttp: the run)" if self.lenient else ""
        return kind if kind == RUN else f"`{kind}`" + (f": {words}" if words else "") + older


def head(*lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


def sized(body: bytes = DONE, *lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *lines, status=status) + body


def chunked(framed: bytes, *lines: str, coding: str = "chunked") -> bytes:
    return head(f"Transfer-Encoding: {coding}", *lines) + framed


def chunk(data: bytes, size: str = "{:x}") -> bytes:
    return size.format(len(data)).encode() + b"\r\n" + data + b"\r\n"


def packed(body: bytes, coding: str = "gzip") -> bytes:
    return sized(body, f"Content-Encoding: {coding}")


LAST = b"0\r\n\r\n"
HALF = DONE[:20], DONE[20:]
INVALID = "ApiConnectionError: the response is not valid HTTP"
BROKEN = "ApiConnectionError: "
"""In the middle of a body: invalid or malformed, as the pieces arrive."""
CUT = "ApiConnectionError: the body is truncated or malformed"
NO_RUN = "ResponseDecodeError: "
OTHER_RUN = "ResponseDecodeError: expected the run run_1"
RAW = zlib.compressobj(wbits=-15)
ZIPPED = gzip.compress(DONE)
EVIL = sized(OTHER)

FRAMING = {
    "chunks with extensions": Shape(chunked(chunk(DONE, '{:x};a="b";c') + LAST), RUN),
    "chunks with trailers": Shape(chunked(chunk(DONE) + b"0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"), RUN),
    "chunk sizes in capitals, with leading zeros": Shape(chunked(chunk(DONE, "{:08X}") + LAST), RUN),
    "one byte a chunk": Shape(chunked(b"".join(chunk(bytes([byte])) for byte in DONE) + LAST), RUN),
    "Transfer-Encoding: Chunked": Shape(chunked(chunk(DONE) + LAST, coding="Chunked"), RUN),
    "Transfer-Encoding: identity": Shape(chunked(DONE, coding="identity"), RUN, ends=True),
    "Transfer-Encoding: gzip, chunked": Shape(chunked(chunk(ZIPPED) + LAST, coding="gzip, chunked"), NO_RUN),
    "Transfer-Encoding: chunked, gzip": Shape(
        chunked(chunk(DONE) + LAST, coding="chunked, gzip"), NO_RUN, ends=True
    ),
    "Transfer-Encoding: chunked, twice": Shape(
        chunked(chunk(DONE) + LAST, "Transfer-Encoding: chunked"), RUN
    ),
    "a chunk size of nothing": Shape(chunked(b"\r\n" + DONE), BROKEN, ends=True),
    "a negative chunk size": Shape(chunked(b"-5\r\n" + DONE), BROKEN, ends=True),
    "a chunk size of 0x10": Shape(chunked(b"0x10\r\n" + DONE), BROKEN, ends=True),
    "a chunk size past 64 bits": Shape(chunked(b"F" * 17 + b"\r\n" + DONE), BROKEN, ends=True),
    "a chunk longer than its size": Shape(chunked(b"5\r\n" + DONE + b"\r\n" + LAST), BROKEN, ends=True),
    "chunks with bare line feeds": Shape(chunked(b"%x\n%b\n0\n\n" % (len(DONE), DONE)), BROKEN, ends=True),
    "no last chunk": Shape(chunked(chunk(DONE)), CUT, ends=True),
    "closed within a chunk": Shape(chunked(b"%x\r\n" % len(DONE) + DONE[:9]), CUT, ends=True),
    "closed within the trailers": Shape(chunked(chunk(DONE) + b"0\r\nX-S"), CUT, ends=True),
    "length and chunks": Shape(chunked(chunk(DONE) + LAST, "Content-Length: 3"), INVALID),
    "the same length twice": Shape(sized(DONE, f"Content-Length: {len(DONE)}"), INVALID),
    "two lengths": Shape(sized(DONE, "Content-Length: 3"), INVALID),
    "two lengths in one": Shape(head(f"Content-Length: {len(DONE)}, {len(DONE)}") + DONE, INVALID),
    "a length of +5": Shape(head(f"Content-Length: +{len(DONE)}") + DONE, INVALID),
    "a length of -1": Shape(head("Content-Length: -1") + DONE, INVALID),
    "a length in hexadecimal": Shape(head(f"Content-Length: {len(DONE):#x}") + DONE, INVALID),
    "a length of 1_000": Shape(head("Content-Length: 1_000") + DONE, INVALID),
    "an empty length": Shape(head("Content-Length: ") + DONE, INVALID),
    "a length past 64 bits": Shape(head("Content-Length: " + "9" * 20) + DONE, INVALID),
    "a length with spaces around": Shape(head(f"Content-Length:   {len(DONE)}  ") + DONE, RUN),
    "longer than its length": Shape(sized() + b"garbage", INVALID, clean=False),
    "shorter than its length": Shape(head(f"Content-Length: {len(DONE) + 9}") + DONE, CUT, ends=True),
    "no length, until the connection closes": Shape(head() + DONE, RUN, ends=True),
    "HTTP/1.0, closed": Shape(sized(status="HTTP/1.0 200 OK"), RUN, ends=True),
    "HTTP/1.0, without a length": Shape(head(status="HTTP/1.0 200 OK") + DONE, RUN, ends=True),
    "HTTP/1.0, kept alive": Shape(sized(DONE, "Connection: keep-alive", status="HTTP/1.0 200 OK"), RUN),
    "HTTP/1.0, left open without a word": Shape(sized(status="HTTP/1.0 200 OK"), RUN),
    "HTTP/1.0 with chunks": Shape(
        head("Transfer-Encoding: chunked", status="HTTP/1.0 200 OK") + chunk(DONE) + LAST, RUN, ends=True
    ),
    "Connection: close, and left open": Shape(sized(DONE, "Connection: close"), RUN),
    "Connection: keep-alive, close": Shape(sized(DONE, "Connection: keep-alive, close"), RUN),
}

SEVERAL = {
    "100 Continue before it": Shape(head(status="HTTP/1.1 100 Continue") + sized(), RUN),
    "100 Continue, forty times": Shape(head(status="HTTP/1.1 100 Continue") * 40 + sized(), RUN),
    "102 Processing before it": Shape(head(status="HTTP/1.1 102 Processing") + sized(), RUN),
    "103 Early Hints before it": Shape(
        head("Link: </s.css>; rel=preload", status="HTTP/1.1 103 Early Hints") + sized(), RUN
    ),
    "101 Switching Protocols, unasked": Shape(
        head("Upgrade: evil", "Connection: upgrade", status="HTTP/1.1 101 Switching Protocols") + EVIL,
        "ApiError: 101 Switching",
        ends=True,
    ),
    "a second answer behind it": Shape(sized() + EVIL, RUN, clean=False),
    "a second answer behind it, chunked": Shape(chunked(chunk(DONE) + LAST) + EVIL, RUN, clean=False),
    "204 with a body": Shape(
        head(f"Content-Length: {len(EVIL)}", status="HTTP/1.1 204 No Content") + EVIL, NO_RUN, clean=False
    ),
    "304 with a body": Shape(
        head(f"Content-Length: {len(EVIL)}", status="HTTP/1.1 304 Not Modified") + EVIL,
        "ApiError: 304 Not Modified",
        clean=False,
    ),
    "200 with another run": Shape(EVIL, OTHER_RUN),
    "206 with a part": Shape(sized(DONE[:9], status="HTTP/1.1 206 Partial Content"), NO_RUN),
    "a 408 behind it, as of a proxy that has waited": Shape(
        sized() + head("Connection: close", status="HTTP/1.0 408 Request Time-out"),
        RUN,
        ends=True,
        clean=False,
    ),
}

STATUS_LINES = {
    "HTTP/1.1 200": RUN,
    "HTTP/1.1 200 ": RUN,
    "HTTP/1.1 200 \u00c9\u00e7\u00e9": RUN,
    "HTTP/1.1 200 OK\tOK": RUN,
    "HTTP/1.1  200 OK": INVALID,
    "HTTP/1.1 2000 OK": INVALID,
    "HTTP/1.1 20 OK": INVALID,
    "HTTP/1.1 -20 OK": INVALID,
    "HTTP/1.1 099 OK": "ApiError: 99 unknown status",
    "HTTP/1.1 600 What": "ServerError: 600",
    "HTTP/1.1 999 Denied": "ServerError: 999",
    "HTTP/1.1 425 Too Early": "ApiError: 425",
    "HTTP/1.1 426 Upgrade Required": "ApiError: 426",
    "HTTP/1.1 451 Unavailable For Legal Reasons": "ApiError: 451",
    "HTTP/1.2 200 OK": INVALID,
    "HTTP/2 200": INVALID,
    "HTTP/2.0 200 OK": RUN,
    "HTTP/9.9 200 OK": INVALID,
    "http/1.1 200 OK": INVALID,
    "ICY 200 OK": INVALID,
    "200 OK": INVALID,
}

NOT_HTTP = {
    "HTTP/0.9: only a body": Shape(DONE, INVALID, ends=True),
    "HTTP/2 frames": Shape(b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0@\0", INVALID, ends=True),
    "a TLS alert": Shape(b"\x15\x03\x01\0\x02\x02\x46", INVALID, ends=True),
    "an SSH banner": Shape(b"SSH-2.0-OpenSSH_9.9\r\n", INVALID, ends=True),
    "an SMTP banner": Shape(b"220 mail ready\r\n", INVALID, ends=True),
    "a request": Shape(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", INVALID, ends=True),
    "empty lines, then an answer": Shape(b"\r\n\r\n" + sized(), RUN),
    "one header, then closed": Shape(b"HTTP/1.1 200 OK\r\nA: b\r\n", "ApiConnectionError: ", ends=True),
    "zeros": Shape(bytes(4_096), INVALID, ends=True),
}

HEADERS = {
    "a header in two lines": Shape(sized(DONE, "X-Long: one", "  two"), RUN),
    "a length in two lines": Shape(
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n %d\r\n\r\n" % len(DONE) + DONE, RUN
    ),
    "bare line feeds": Shape(sized().replace(b"\r\n", b"\n"), RUN),
    "a bare carriage return": Shape(sized(DONE, "X-Odd: a\rb"), INVALID),
    "a space before the colon": Shape(sized(DONE, "X-Odd : a"), INVALID),
    "no colon": Shape(sized(DONE, "X-Odd"), INVALID),
    "no name": Shape(sized(DONE, ": a"), INVALID),
    "a name in Latin-1": Shape(sized(DONE, "X-\u00e9: a"), INVALID),
    "a NUL": Shape(sized(DONE, "X-Odd: a\0b"), INVALID, lenient=True),
    "a value in Latin-1": Shape(sized(DONE, "X-Odd: \u00e9\u00ff"), RUN),
    "a value in UTF-8": Shape(sized(DONE, "X-Odd: \u00e2\u0082\u00ac"), RUN),
    "a value that is no UTF-8": Shape(sized(DONE, "X-Odd: \u00ff\u00fe\u00c0"), RUN),
    "an X-Request-Id that is no UTF-8": Shape(sized(DONE, "X-Request-Id: \u00ff\u00c0"), RUN),
    "an ETag that is no UTF-8": Shape(sized(DONE, 'ETag: "\u00ff\u00c0"'), RUN),
    "an empty value": Shape(sized(DONE, "X-Odd:"), RUN),
    "Content-Type twice": Shape(sized(DONE, "Content-Type: a/b", "Content-Type: text/html"), RUN),
    "text/html over JSON": Shape(sized(DONE, "Content-Type: text/html"), RUN),
    "a charset that does not exist": Shape(sized(DONE, "Content-Type: application/json; charset=x"), RUN),
    "a cookie": Shape(sized(DONE, "Set-Cookie: a=b; Path=/"), RUN),
    "100 headers": Shape(sized(DONE, *(f"X-{n}: {n}" for n in range(100))), RUN),
    "10,000 headers": Shape(sized(DONE, *(f"X-{n}: {n}" for n in range(10_000))), INVALID, lenient=True),
    "a header of 8,000 bytes": Shape(sized(DONE, "X-Long: " + "x" * 8_000), RUN),
    "a header of 1 MB": Shape(sized(DONE, "X-Long: " + "x" * 1_000_000), INVALID),
}

BODIES = {
    "gzip": Shape(packed(ZIPPED), RUN),
    "GZIP": Shape(packed(ZIPPED, "GZIP"), RUN),
    "gzip in chunks of a byte": Shape(
        chunked(b"".join(chunk(bytes([byte])) for byte in ZIPPED) + LAST, "Content-Encoding: gzip"), RUN
    ),
    "gzip of two members": Shape(packed(gzip.compress(HALF[0]) + gzip.compress(HALF[1])), RUN),
    "gzip with zeros behind it": Shape(packed(ZIPPED + bytes(9)), RUN),
    "gzip with garbage behind it": Shape(packed(ZIPPED + b"garbage"), NO_RUN),
    "gzip with a wrong checksum": Shape(packed(ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:]), NO_RUN),
    "gzip with a wrong size": Shape(packed(ZIPPED[:-4] + b"\0\0\0\0"), NO_RUN),
    "gzip, truncated": Shape(packed(ZIPPED[:-9]), "ApiConnectionError: the compressed body was truncated"),
    "gzip of an empty body": Shape(packed(b""), NO_RUN),
    "not gzip": Shape(packed(DONE), NO_RUN),
    "gzip twice": Shape(packed(gzip.compress(ZIPPED), "gzip, gzip"), NO_RUN),
    "zlib": Shape(packed(zlib.compress(DONE), "deflate"), RUN),
    "raw deflate": Shape(packed(RAW.compress(DONE) + RAW.flush(), "deflate"), RUN),
    "an empty encoding": Shape(packed(DONE, ""), NO_RUN),
    "br, not requested": Shape(packed(DONE, "br"), NO_RUN),
    "a byte order mark": Shape(sized(b"\xef\xbb\xbf" + DONE), RUN),
    "UTF-16": Shape(sized(DONE.decode().encode("utf-16")), NO_RUN),
    "not UTF-8": Shape(sized(DONE[:-1] + b', "x": "\xff"}'), NO_RUN),
    "half a surrogate": Shape(sized(DONE[:-1] + b', "x": "\\ud800"}'), NO_RUN),
    "NaN": Shape(sized(DONE[:-1] + b', "x": NaN}'), NO_RUN),
    "an integer of 5,000 digits": Shape(sized(DONE[:-1] + b', "x": ' + b"9" * 5_000 + b"}"), NO_RUN),
    "the same name twice": Shape(sized(b'{"id": "run_evil", ' + DONE[1:]), RUN),
    "100,000 brackets": Shape(sized(b"[" * 100_000), NO_RUN),
    "garbage after the JSON": Shape(sized(DONE + b"garbage"), NO_RUN),
    "spaces around the JSON": Shape(sized(b"\r\n\t " + DONE + b" \n"), RUN),
    "two documents": Shape(sized(DONE + b"\n" + OTHER), NO_RUN),
    "null": Shape(sized(b"null"), NO_RUN),
    "a list": Shape(sized(b"[" + DONE + b"]"), NO_RUN),
    "a string": Shape(sized(b'"run_1"'), NO_RUN),
    "nothing": Shape(sized(b""), NO_RUN),
}

SHAPES = {
    **FRAMING,
    **SEVERAL,
    **{f"status line: {line!a}": Shape(sized(status=line), gives) for line, gives in STATUS_LINES.items()},
    **NOT_HTTP,
    **HEADERS,
    **BODIES,
}
