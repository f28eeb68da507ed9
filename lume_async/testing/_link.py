"""`Link`: a connection in memory, with delays, flow control, and faults at any byte."""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Literal, TypeAlias
from zlib import crc32

from lume_async.testing._network import SimulatedNetwork

GIVES_UP = 900.0
"""Seconds after which the system gives up a connection whose bytes are not acknowledged."""
BUFFER = 64 * 1024
"""Bytes that a transport holds before it asks its protocol to pause, as asyncio's do."""
UNDERWAY = ("cut there", "cut back", "reset there", "reset back", "stalled there", "stalled back")
"""What can befall bytes under way: "there" is the way to the service, "back" the way of its answer."""

Piece: TypeAlias = bytes | ConnectionResetError | None
"""What arrives at an end: bytes, a reset, or nothing more."""


class Link:
    """A connection: its two ends, and the bytes under way between them.

    Args:
        network: tells delays and outages.
        number: its number, for the trace.
        on_write: called before the client writes while nothing of it is under way.
        on_end: called when both ends are closed.

    Attributes:
        fault: what will befall it.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        number: int,
        on_write: Callable[["Link"], object],
        on_end: Callable[["Link"], object],
    ) -> None:
        # Its own: the order in which aiohttp closes connections is that of a set, by their addresses in memory.
        self._random = random = Random(network.chance.random.getrandbits(64))  # noqa: S311 - repeatable, not secret
        self.network, self.number, self.loop = network, number, asyncio.get_running_loop()
        self._on_write, self._on_end = on_write, on_end
        self.fault = ""
        self.size = random.choice([1 << 30, 1 << 30, 16_384, 1_460, 50])
        self.window = random.choice([1 << 18, 1 << 16, 4_096])
        self.is_chunked = random.random() < 0.2
        self.idle = random.choice([75.0, 75.0, 5.0, 0.05])
        self.client, self.service = End(self, ">"), End(self, "<")
        self.client.peer, self.service.peer = self.service, self.client
        self._after = 0
        self._stalled: set[End] = set()

    def strike(self, fault: str, after: int | None = None) -> None:
        """Let something befall it, after so many bytes on its way; None: they are drawn."""
        self.fault = fault
        if fault in UNDERWAY:
            self._after = int(2 ** (self._random.random() * 17)) - 1 if after is None else after

    def taken(self, kinds: tuple[str, ...]) -> str:
        """Return what befalls the request that has arrived, if it is one of these kinds."""
        fault = self.fault if self.fault in kinds else ""
        if fault:
            self.fault = ""
        return fault

    def stall(self) -> None:
        """Let nothing more arrive at either end, until the system gives the connection up."""
        self._stalled |= {self.client, self.service}
        self.loop.call_later(GIVES_UP, self._reset)

    def carry(self, sender: "End", data: bytes) -> None:
        """Take bytes of one end to the other, or not."""
        if sender is self.client and not self.service.line:
            self._on_write(self)
        kind, _, way = self.fault.partition(" ")
        if way == ("there" if sender is self.client else "back") and kind in ("cut", "reset", "stalled"):
            self._after -= len(data)
            if self._after < 0:
                self.fault = ""
                self._send(sender.peer, data[: self._after])
                if kind == "stalled":
                    self._stalled.add(sender)
                    self.loop.call_later(GIVES_UP, self._reset)
                    return
                for end in (sender.peer, sender):
                    if kind == "cut":
                        self.send(end, None)  # what is written to a closed end is answered by a reset
                    if kind == "reset" or end is sender:
                        self.send(end, ConnectionResetError(104, "Connection reset by peer"))
                return
        if sender not in self._stalled:
            self._send(sender.peer, data)

    def send(self, end: "End", piece: Piece) -> None:
        """Let something arrive at an end, after the bytes under way."""
        if end.peer in self._stalled:
            return
        end.due = max(end.due, self.loop.time() + self._random.choice(self.network.delays))
        end.line.append(piece)
        self.loop.call_at(end.due, self._deliver, end)

    def ended(self) -> None:
        """Forget the connection if both ends are closed."""
        if self.client.is_lost and self.service.is_lost:
            self._on_end(self)

    def _send(self, end: "End", data: bytes) -> None:
        size = max(self.size, len(data) // 40)
        for start in range(0, len(data), size):
            self.send(end, data[start : start + size])

    def _reset(self) -> None:
        self._stalled.clear()
        for end in (self.client, self.service):
            self.send(end, ConnectionResetError(110, "Connection timed out"))

    def _deliver(self, end: "End") -> None:
        if (down := self.network.down_until) > self.loop.time():
            self.loop.call_at(down, self._deliver, end)
            return
        piece = end.line.popleft()
        if self.network.is_cut:
            return
        if not end.is_closing() and (end is self.client or piece is not None):  # aiohttp closes a set of them
            what = f"{len(piece)} {crc32(piece):08x}" if isinstance(piece, bytes) else str(piece or "closed")
            self.network.trace.append(f"{self.loop.time():.6f} {self.number}{end.peer.name} {what}")
        end.arrive(piece)


class End(asyncio.Transport):
    """One end of a connection.

    Attributes:
        line: what is under way to it; `due`: when the last of it arrives.
        unread: bytes that it has written and its peer's protocol has not read.
    """

    peer: "End"

    def __init__(self, link: Link, name: Literal["<", ">"]) -> None:
        super().__init__()
        self.link, self.name = link, name
        self.line: deque[Piece] = deque()
        self.due = 0.0
        self.unread = 0
        self.is_lost = False
        self._protocol: asyncio.BaseProtocol
        self._inbox: deque[Piece] = deque()
        self._is_closing = self._is_paused = self._is_full = False
        self._low, self._high = BUFFER // 4, BUFFER

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def arrive(self, piece: Piece) -> None:
        """Take the bytes that have arrived; after a reset, unread ones are lost."""
        if isinstance(piece, ConnectionResetError):
            self._inbox.clear()
            self._lose(piece)
        elif self._is_closing:
            if piece:
                self._was_read(piece)
                self.link.send(self.peer, ConnectionResetError(104, "Connection reset by peer"))
        else:
            self._inbox.append(piece)
            self._read()

    def write(self, data: Any) -> None:
        if self._is_closing or not data:
            return
        self.unread += len(data)
        self.link.carry(self, bytes(data))
        if self.unread > self._high + self.link.window and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self.link.send(self.peer, None)
            self._lose_if_sent()

    def abort(self) -> None:
        self._is_closing = True
        self.link.send(self.peer, ConnectionResetError(104, "Connection reset by peer"))
        self.link.loop.call_soon(self._lose, None)

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self.link.loop.call_soon(self._read)

    def is_reading(self) -> bool:
        return not self._is_paused and not self._is_closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        return max(0, self.unread - self.link.window)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = BUFFER if high is None else high
        self._low = self._high // 4 if low is None else low

    def can_write_eof(self) -> bool:
        return False

    def _read(self) -> None:
        protocol = self._protocol
        assert isinstance(protocol, asyncio.Protocol)
        while self._inbox and not self._is_paused and not self._is_closing:
            piece = self._inbox.popleft()
            if isinstance(piece, bytes):
                self._was_read(piece)
                protocol.data_received(piece)
            elif not protocol.eof_received():
                self.close()

    def _was_read(self, piece: bytes) -> None:
        sender = self.peer
        sender.unread -= len(piece)
        if sender._is_full and sender.unread <= sender._low + self.link.window and not sender.is_lost:
            sender._is_full = False
            sender._protocol.resume_writing()
        if sender._is_closing:
            sender._lose_if_sent()

    def _lose_if_sent(self) -> None:
        if self.unread <= self.link.window:
            self.link.loop.call_soon(self._lose, None)

    def _lose(self, error: ConnectionResetError | None) -> None:
        if not self.is_lost:
            self.is_lost = self._is_closing = True
            self._protocol.connection_lost(error)
            self.link.ended()
