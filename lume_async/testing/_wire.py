"""`WireNetwork`: a simulated network of bytes, for the real HTTP client. TLS is not simulated."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp.connector
from attrs import define, field
from multidict import CIMultiDict

from lume_async.testing._chance import Chance
from lume_async.testing._fakes import FakeAnswer, FakeRequest
from lume_async.testing._link import UNDERWAY, Link
from lume_async.testing._network import HTML, SimulatedNetwork
from lume_async.testing._server import SimulatedServer

HERE = "192.0.2.1"
"""The address of every name that has no other one."""
ELSEWHERE = "http://elsewhere.test/"
"""Where redirects point; nobody may bring the API key there."""
CONNECTING = ("no name", "refused", "unreachable")
ANSWERED = (
    "503",
    "404 before",
    "502 before",
    "307 before",
    "500 after",
    "early 503",
    "twice",
    "closed after",
)
BY_GATEWAY = ANSWERED[:4]
WIRE_FAULTS = (*CONNECTING, *UNDERWAY, *ANSWERED)
"""What can befall a connection or a request.

An "early" answer comes before the request has arrived. A connection that is "closed after" an answer says so in no
header.
"""


@define(eq=False)
class WireNetwork(SimulatedNetwork):
    """The network of a simulation in which bytes travel, between real HTTP clients and an HTTP server.

    Args:
        names: the addresses of host names; one that is missing has the server's.
        gone: addresses at which nothing answers.
        planned: what befalls a connection, by its number: the kind, and after how many bytes on its way.

    Attributes:
        heard: the address and the `Host` of each request, and whether it had an API key.
        links: the open connections, and the service's end of each.

    Examples:
        >>> network = WireNetwork(SimulatedServer(), Chance(7), faults=0.2)
    """

    kinds: tuple[str, ...] = WIRE_FAULTS
    names: dict[str, list[str]] = field(factory=dict)
    gone: set[str] = field(factory=set)
    planned: dict[int, tuple[str, int]] = field(factory=dict)
    heard: set[tuple[str, str, bool]] = field(factory=set)
    links: dict[Link, "HttpService"] = field(factory=dict)
    count: int = 0
    starts_at: float = 0.0

    @classmethod
    def drawn(cls, server: SimulatedServer, chance: Chance) -> "WireNetwork":
        """Return a network with faults and delays that are drawn.

        Examples:
            >>> network = WireNetwork.drawn(SimulatedServer(), Chance(7))
        """
        # A connection takes two of them, and each piece of an answer one: 10 s for the first are the limit.
        delays = chance.pick("pieces take up to", [(0.0, 0.01), (0.0, 0.01, 1.0), (0.01, 4.0)])
        return cls(server, chance, chance.random.choice([0.0, 0.05, 0.2, 0.5]), delays=delays)

    @property
    def dialer(self) -> "WireNetwork":
        """What makes the connections of the event loop."""
        return self

    def replacements(self, now: Callable[[], float]) -> list[tuple[object, str, object]]:
        """Return names and time: the owner, the name and the value of each function to replace."""
        # aiohttp's own use of the time; without it, kept connections age in real time.
        kept = [(aiohttp.connector, "monotonic", now)] if hasattr(aiohttp.connector, "monotonic") else []
        return [(socket, "getaddrinfo", self.look_up), *kept]

    def look_up(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        """Return what `socket.getaddrinfo` does."""
        found = self.names.get(host, [HERE])
        if not found or ("no name" in self.kinds and self._befalls(("no name",), host)):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def reach(self, address: tuple[Any, ...]) -> Callable[[asyncio.Protocol], asyncio.Transport]:
        """Connect with the service at an address, as `Dialer.reach` says."""
        loop, where = asyncio.get_running_loop(), str(address[0])
        self.sent += 1
        fault = self._befalls(self.kinds, f"the connection to {where}")
        if loop.time() < self.down_until:
            fault = "unreachable" if self.chance.random.random() < 0.5 else "refused"
        if fault == "unreachable":
            await loop.create_future()
        await asyncio.sleep(self._delay())
        if fault == "refused" or where in self.gone or loop.time() < self.starts_at or self.is_cut:
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        return partial(self._join, where, fault if fault in (*UNDERWAY, *ANSWERED) else "")

    def restart(self, seconds: float = 0.0, *, forgets: bool = False) -> None:
        """Restart the server, which takes a time; its connections are reset.

        Examples:
            >>> async def restart() -> None:
            ...     WireNetwork(SimulatedServer(), Chance(7)).restart(30)
            >>> simulate(restart)
        """
        self.starts_at = asyncio.get_running_loop().time() + seconds
        for link in list(self.links):
            link.service.abort()
        self.server.restart(forgets=forgets)

    def move(self, host: str, address: str) -> None:
        """Move a host to another address; the machine at the old ones is silent from now on.

        Examples:
            >>> WireNetwork(SimulatedServer(), Chance(7)).move("lume.test", "192.0.2.2")
        """
        self.gone.update(self.names.get(host, [HERE]))
        self.names[host] = [address]
        for link in self.links:
            link.stall()

    def _begins(self, link: Link) -> None:
        """Draw what befalls the next exchange of a connection."""
        self.sent += 1
        if not link.fault and self.links[link].is_idle:
            fault = self._befalls(self.kinds, f"connection {link.number}")
            link.strike(fault if fault not in CONNECTING else "reset there")

    def arrives(self, link: Link, request: FakeRequest) -> None:
        """Bring a whole request to the service, and its answer back."""
        loop = asyncio.get_running_loop()
        fault = link.taken(ANSWERED)
        reply = partial(self._reply, link, request, fault)
        if fault in BY_GATEWAY:
            elsewhere = {"Location": ELSEWHERE} if fault == "307 before" else {}
            reply(FakeAnswer(int(fault[:3]), HTML, elsewhere))
            return
        self._end_others(link, request)
        answered: asyncio.Future[FakeAnswer] = loop.create_future()
        answered.add_done_callback(lambda done: reply(done.result()))
        self._arrive(request, answered)
        if fault == "twice" and self._may_come_twice(request):
            loop.call_later(0.5, self._arrive, request, loop.create_future())

    def _reply(self, link: Link, request: FakeRequest, fault: str, answer: FakeAnswer) -> None:
        now = asyncio.get_running_loop().time()
        self.trace.append(f"{now:.6f} {request.method} {request.path} {answer.status} {fault}")
        answer = FakeAnswer(500, HTML) if fault == "500 after" else answer
        if (http := self.links.get(link)) is not None:
            http.respond(request, answer, closes=fault == "closed after")

    def _end_others(self, link: Link, request: FakeRequest) -> None:
        """End requests that still bring the same upload: their connections may be dead."""
        for other, http in list(self.links.items()):
            if other is not link and http.brings(request.path):
                other.service.abort()

    def _befalls(self, kinds: tuple[str, ...], whom: str) -> str:
        if not self.faults or self.chance.random.random() >= self.faults:
            return ""
        fault = self.chance.random.choice(kinds)
        return fault if self.chance.happens(1.0, f"{fault} ({whom})") else ""

    def _join(self, address: str, fault: str, protocol: asyncio.Protocol) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        for old, http in list(self.links.items()):
            if old.loop is not loop:  # of a life before
                del self.links[old]
                http.connection_lost(None)
        link = Link(self, self.count, self._begins, self.links.pop)
        self.count += 1
        http = self.links[link] = HttpService(self, link, address)
        link.strike(*self.planned.get(link.number, (fault, None)))
        link.client.begin(protocol)
        link.service.begin(http)
        return link.client


class HttpService(asyncio.Protocol):
    """The service's end of a connection: HTTP/1.1, one request after the other."""

    def __init__(self, network: WireNetwork, link: Link, address: str) -> None:
        self._network, self._link, self._address = network, link, address
        self._buffer = bytearray()
        self._request: FakeRequest | None = None
        self._missing = 0
        self._is_answering = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, of which nothing has arrived."""
        return self._request is None and not self._buffer

    def brings(self, path: str) -> bool:
        """Return whether it is receiving the body of a request with this path."""
        return self._request is not None and not self._is_answering and self._request.path == path

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._buffer += data
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request is not None and not self._is_answering:
            self._network.server.part(self._whole())
        self._request, self._is_answering = None, True

    def respond(self, request: FakeRequest, answer: FakeAnswer, *, closes: bool) -> None:
        """Send an answer, unless the connection has ended."""
        transport = self._link.service
        if transport.is_closing() or self._request is None:
            return
        body = b"" if request.method == "HEAD" or answer.status in (204, 304) else answer.body
        headers = CIMultiDict(answer.headers)
        if answer.status not in (204, 304):
            headers.setdefault("Content-Length", str(len(answer.body)))
        if body and self._link.is_chunked:
            del headers["Content-Length"]
            headers["Transfer-Encoding"] = "chunked"
            parts = [part for part in (body[: len(body) // 2], body[len(body) // 2 :]) if part]
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
        lines = [
            f"HTTP/1.1 {answer.status} Simulated",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self._request, self._is_answering = None, False
        if closes:
            transport.close()
            return
        self._timer = self._link.loop.call_later(self._link.idle, transport.close)
        self._advance()

    def _advance(self) -> None:
        if self._request is None and not self._read_head():
            return
        if self._is_answering or self._request is None or len(self._buffer) < self._missing:
            return
        request, self._is_answering = self._whole(), True
        del self._buffer[: self._missing]
        self._request = request
        self._network.arrives(self._link, request)

    def _read_head(self) -> bool:
        head, mark, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not mark:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = CIMultiDict[str]()
        for line in lines:
            name, _, value = line.partition(": ")
            headers.add(name, value)
        assert "Transfer-Encoding" not in headers, "the client names the length of what it sends"
        self._network.heard.add((self._address, headers["Host"], "lume-api-key" in headers))
        self._request, self._missing = (
            FakeRequest(method, path, headers),
            int(headers.get("Content-Length", "0")),
        )
        self._buffer[:] = rest
        if self._missing and self._link.taken(("early 503",)):
            self.respond(self._request, FakeAnswer(503, HTML), closes=True)
            return False
        return True

    def _whole(self) -> FakeRequest:
        assert self._request is not None
        body = bytes(self._buffer[: self._missing])
        return FakeRequest(self._request.method, self._request.path, self._request.headers, body or None)
