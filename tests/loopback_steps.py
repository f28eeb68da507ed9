"""What a `Loopback` server can do with one request, and the request as it arrived."""

import asyncio
import gzip
import json
import socket
import struct
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

Body = bytes | str | dict[str, Any] | list[Any]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Moment = Literal["connect", "first byte", "request"]
"""When a step begins: on a new connection at once, when a request begins to arrive, or when it is all there."""

Place = Literal["headers", "body", "chunk", "last chunk"]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """1 for the first connection that the server accepted."""
    at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One accepted connection, as a step sees it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        released: asyncio.Event,
        refuse: Callable[[], Awaitable[None]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.number = number
        self.released = released
        self.refuse = refuse
        self.ended = False

    async def first_byte(self) -> bytes:
        """The first byte of the next request; empty where the client has left."""
        return await self._reader.read(1)

    async def read_request(self, first: bytes) -> Request:
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _version = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
        return Request(method, target, headers, await self._body(headers), self.number)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(headers.get("content-length", "0")))
        whole = bytearray()
        while size := int(await self._reader.readline(), 16):
            whole += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return bytes(whole)

    async def send(self, data: bytes) -> None:
        if self._writer.is_closing():  # uvloop's transport would refuse the data with a RuntimeError
            raise ConnectionResetError("the client left")
        self._writer.write(data)
        await self._writer.drain()

    async def stall(self) -> None:
        """Until the test releases it or the client leaves."""
        left = asyncio.ensure_future(self._reader.read(1))
        released = asyncio.ensure_future(self.released.wait())
        try:
            await asyncio.wait({left, released}, return_when=asyncio.FIRST_COMPLETED)
            if left.done() and not released.done():
                raise ConnectionResetError("the client left")
        finally:
            left.cancel()
            released.cancel()
            await asyncio.gather(left, released, return_exceptions=True)

    def close(self) -> None:
        """Say goodbye (FIN) after what was written."""
        self.ended = True
        self._writer.close()

    def reset(self) -> None:
        """Drop the connection with an RST."""
        self.ended = True
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def drop(self) -> None:
        """Leave nothing behind; what `close` has still to flush goes out."""
        if not self.ended:
            self.ended = True
            self._writer.transport.abort()


class Step(Protocol):
    """What happens to one request. Any object with these two will do."""

    @property
    def moment(self) -> Moment: ...

    async def play(self, connection: Connection) -> None: ...


@dataclass(frozen=True)
class Forever:
    """The last step of a script, for every request that is still to come."""

    step: Step

    @property
    def moment(self) -> Moment:
        return self.step.moment

    async def play(self, connection: Connection) -> None:
        await self.step.play(connection)


@dataclass(frozen=True)
class Drop:
    """No answer at all."""

    how: Literal["close", "reset"]
    moment: Moment
    then_refuse: bool = False

    async def play(self, connection: Connection) -> None:
        if self.then_refuse:
            await connection.refuse()
        connection.reset() if self.how == "reset" else connection.close()


@dataclass(frozen=True)
class Reply:
    """An answer, whole or spoilt: each method gives a new one."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    framing: Literal["length", "chunked", "until close"] = "length"
    length: int | None = None
    keep_alive: bool = True
    moment: Moment = "request"
    ends_after: int | Place | None = None
    ends_with: Literal["close", "reset"] = "close"
    pace: float | None = None
    stalls_at: int | Place | None = None

    def cut(self, after: int | Place, how: Literal["close", "reset"] = "close") -> "Reply":
        """End the connection after that many bytes of the answer, or in the middle of that part of it."""
        return replace(self, ends_after=after, ends_with=how)

    def drip(self, interval: float) -> "Reply":
        """One byte of the body at a time, with a pause before each."""
        return replace(self, pace=interval)

    def stall(self, at: int | Place = 0) -> "Reply":
        """Stop there until `Loopback.release()`; by default before the first byte."""
        return replace(self, stalls_at=at)

    def lying(self, length: int) -> "Reply":
        """Promise another Content-Length than the body has, then close."""
        return replace(self, length=length, keep_alive=False)

    async def play(self, connection: Connection) -> None:
        head, body = self._head(), self._framed()
        whole = head + body
        end = len(whole) if self.ends_after is None else self._offset(self.ends_after, head, body)
        stall = None if self.stalls_at is None else self._offset(self.stalls_at, head, body)
        if stall is not None:
            await connection.send(whole[:stall])
            await connection.stall()
        start = stall or 0
        if self.pace is None:
            await connection.send(whole[start:end])
        else:
            await self._drip(connection, whole, start=max(start, len(head)), head=head[start:], end=end)
        if self.ends_after is not None and self.ends_with == "reset":
            connection.reset()
        elif self.ends_after is not None or not self.keep_alive or self.framing == "until close":
            connection.close()

    async def _drip(self, connection: Connection, whole: bytes, *, start: int, head: bytes, end: int) -> None:
        await connection.send(head)
        for index in range(start, end):
            await asyncio.sleep(self.pace or 0)
            await connection.send(whole[index : index + 1])

    def _head(self) -> bytes:
        names = {name.lower() for name, _ in self.headers}
        headers = list(self.headers)
        if "content-type" not in names:
            headers.append(("Content-Type", "application/json"))
        if self.framing == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
        elif self.framing == "length" and self.status not in (204, 304):
            headers.append(("Content-Length", str(len(self.body) if self.length is None else self.length)))
        if not self.keep_alive or self.framing == "until close":
            headers.append(("Connection", "close"))
        reason = HTTPStatus(self.status).phrase if self.reason is None else self.reason
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _framed(self) -> bytes:
        if self.framing != "chunked":
            return self.body
        # Two chunks, so that there is a place between them.
        half = (len(self.body) + 1) // 2
        chunks = [part for part in (self.body[:half], self.body[half:]) if part]
        return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks) + b"0\r\n\r\n"

    def _offset(self, place: int | Place, head: bytes, body: bytes) -> int:
        if place in ("chunk", "last chunk") and self.framing != "chunked":
            raise ValueError(f"{place!r} needs reply(..., framing='chunked')")
        match place:
            case "headers":
                return len(head) // 2
            case "body":
                return len(head) + len(body) // 2
            case "chunk":
                return len(head) + body.index(b"\r\n") + len(b"\r\n") + 1
            case "last chunk":
                return len(head) + len(body) - len(b"0\r\n\r\n")
            case int():
                return place


@dataclass(frozen=True)
class Sends:
    """Sends so many bytes of a response, and drops the connection if that is not all of it, or in any case."""

    head: bytes
    body: bytes
    cut: int
    closes: bool = False
    moment: Moment = "request"

    async def play(self, connection: Connection) -> None:
        await connection.send(self.head + self.body[: self.cut])
        if self.closes or len(self.body) > self.cut:
            connection.close()


@dataclass(frozen=True)
class Endless:
    """A chunked 200 whose body never ends."""

    chunk: bytes = b" " * 65_536
    moment: Moment = "request"

    async def play(self, connection: Connection) -> None:
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            await connection.send(b"%x\r\n%b\r\n" % (len(self.chunk), self.chunk))


def reply(status: int = 200, body: Body = b"", *, headers: Headers = (), **more: Any) -> Reply:
    """An answer; a dict or list is sent as JSON. More: `framing`, `keep_alive`, `reason`, `moment`."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Reply(status, _bytes(body), tuple(pairs), **more)


def forever(step: Step) -> Forever:
    """This step, for every request from here on."""
    return Forever(step)


def reset(moment: Moment = "request") -> Drop:
    """RST instead of an answer."""
    return Drop("reset", moment)


def hang_up(moment: Moment = "request") -> Drop:
    """Close without a byte, as a server does with a connection that it thinks idle."""
    return Drop("close", moment)


def gone(moment: Moment = "request") -> Drop:
    """Reset this one and close the port: everybody is refused until `await server.accept()`."""
    return Drop("reset", moment, then_refuse=True)


def html_502(**more: Any) -> Reply:
    """What a proxy says when the service behind it is away."""
    page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    return reply(502, page, headers={"Content-Type": "text/html; charset=utf-8"}, **more)


def throttled(retry_after: str | None = None, status: int = 429, *, date: str | None = None) -> Reply:
    """429 (or 503), with Retry-After and the server's Date if they are given."""
    headers = {"Retry-After": retry_after, "Date": date}
    return reply(status, {"title": "slow down"}, headers={k: v for k, v in headers.items() if v is not None})


def redirect(status: int, to: str) -> Reply:
    """301, 302, 303, 307 or 308 to another URL."""
    return reply(status, headers={"Location": to})


def bomb(encoding: Literal["gzip", "deflate"] = "gzip", size: int = 256 * 1024 * 1024) -> Reply:
    """A small answer (about a thousandth) that unpacks to `size` bytes of JSON white space."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    block = b" " * 65_536
    packed = b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()
    return reply(200, packed, headers={"Content-Encoding": encoding})


def endless() -> Endless:
    """An answer without an end, in chunks of 64 KiB."""
    return Endless()


def gzipped(answer: Reply) -> Reply:
    """The same answer, compressed."""
    return replace(
        answer,
        body=gzip.compress(answer.body),
        headers=(*answer.headers, ("Content-Encoding", "gzip")),
    )


def _bytes(body: Body) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
