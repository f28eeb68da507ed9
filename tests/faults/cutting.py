"""A relay in front of a server, which cuts connections at chosen bytes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Self

_BLOCK = 65_536


class Cutter:
    """Passes on what comes, until a connection has had its share.

    Args:
        url: of the server; may be replaced at any time.
        most: how many bytes of the client's each connection passes on, by its number from 0; None for all.
        lose: which responses of the server are lost, by their number over all connections, from 0. The connection is
            cut where one begins.
        on_cut: awaited after each cut, before another connection is accepted.

    Attributes:
        connections: how many there were.
        passed: how many bytes of the client's were passed on.
        responses: how many responses the server has begun.
    """

    def __init__(
        self,
        url: str,
        most: Callable[[int], int | None] = lambda number: None,
        lose: Callable[[int], bool] = lambda number: False,
        on_cut: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.url = url
        self._most, self._lose, self._on_cut = most, lose, on_cut
        self.connections = self.passed = self.responses = self.cuts = 0
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.here = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.here = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            async with self._turn:
                number, self.connections = self.connections, self.connections + 1
                host, _, port = self.url.removeprefix("http://").partition(":")
                there, back = await asyncio.open_connection(host, int(port))
            await self._relay(reader, writer, there, back, self._most(number))
        writer.transport.abort()

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        most: int | None,
    ) -> None:
        up = asyncio.create_task(self._up(reader, back, most))
        down = asyncio.create_task(self._down(there, writer))
        try:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            async with self._turn:
                for task in (up, down):
                    task.cancel()
                await asyncio.wait({up, down})
                back.close()  # what was passed on arrives
                is_cut = any(task in done and not task.exception() and task.result() for task in done)
                self.cuts += is_cut
                if is_cut and self._on_cut is not None:
                    await self._on_cut()
        finally:
            for task in (up, down):
                task.cancel()
            back.close()

    async def _up(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, most: int | None) -> bool:
        left = most
        while left is None or left:
            data = await reader.read(_BLOCK if left is None else min(_BLOCK, left))
            if not data:
                return False
            left = None if left is None else left - len(data)
            self.passed += len(data)
            back.write(data)
            await back.drain()
        return True

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while data := await there.read(_BLOCK):
            if data.startswith(b"HTTP/1.1 "):
                number, self.responses = self.responses, self.responses + 1
                if self._lose(number):
                    return True
            writer.write(data)
            await writer.drain()
        return False
