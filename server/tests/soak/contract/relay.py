"""A port whose connections go where it was last pointed: a Prism has one upstream for life, servers come and go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream, SocketAttribute


class Relay:
    """Passes bytes on, both ways; used from one event loop.

    Attributes:
        port: where it listens.
    """

    def __init__(self) -> None:
        self.port = 0
        self._target: tuple[str, int] | None = None
        self._connections: set[anyio.CancelScope] = set()

    async def point(self, target: tuple[str, int] | None) -> None:
        """From now on there, or nowhere; connections to where it pointed before end."""
        self._target = target
        for scope in self._connections:
            scope.cancel()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        """As long as the block lasts."""
        multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = multi.extra(SocketAttribute.local_port)
        async with multi, anyio.create_task_group() as tasks:
            tasks.start_soon(multi.serve, self._pass_on)
            yield self
            tasks.cancel_scope.cancel()

    async def _pass_on(self, client: ByteStream) -> None:
        with anyio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with client:
                    if self._target is not None:
                        await _joined(client, await anyio.connect_tcp(*self._target))
            except (OSError, anyio.BrokenResourceError):
                pass  # one side has gone: so does the other
            finally:
                self._connections.discard(scope)


async def _joined(one: ByteStream, other: ByteStream) -> None:
    """Until one of them ends."""
    async with other, anyio.create_task_group() as tasks:

        async def copy(source: ByteStream, sink: ByteStream) -> None:
            try:
                async for chunk in source:
                    await sink.send(chunk)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(copy, one, other)
        tasks.start_soon(copy, other, one)
