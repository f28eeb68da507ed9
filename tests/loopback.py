"""A scripted HTTP server on 127.0.0.1 that answers well, badly, or not at all.

    async with Loopback([reset(), reply(503, headers={"Retry-After": "0"}), reply(200, {"id": "r"})]) as server:
        ...                                   # point a client at server.url
    assert [r.method for r in server.requests] == ["GET", "GET", "GET"]

A script is a list of steps, one per request in the order of their arrival (`forever(step)` may end it), or a
function from the request to its step. A request that the script doesn't foresee, and a script that raises, fail
the `async with`. Nothing here waits for time to pass, except `drip`.
"""

import asyncio
import contextlib
import socket
import ssl as ssl_module
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from loopback_steps import (
    Connection,
    Forever,
    Moment,
    Request,
    Step,
    bomb,
    endless,
    forever,
    gone,
    gzipped,
    hang_up,
    html_502,
    redirect,
    reply,
    reset,
    throttled,
)

__all__ = [
    "Loopback",
    "Request",
    "Script",
    "Step",
    "bomb",
    "endless",
    "forever",
    "gone",
    "gzipped",
    "hang_up",
    "html_502",
    "redirect",
    "reply",
    "reset",
    "throttled",
]

Script = Sequence[Step] | Callable[[Request], Step]


REUSE_PORT: int = getattr(socket, "SO_REUSEPORT", 0)


class Loopback:
    """The server. `requests` holds everything that arrived, `connections` counts the accepted ones."""

    def __init__(
        self, script: Script, *, refusing: bool = False, ssl: ssl_module.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open_connections = 0
        self._answer = script if callable(script) else None
        self._steps = [] if callable(script) else list(script)
        self._refusing = refusing
        self._ssl = ssl
        self._listener: asyncio.Server | None = None
        self._parked: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._park()
        if not self._refusing:
            await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._parked is not None:
            self._parked.close()
        for failure in self._failures:
            if error is None:
                raise failure
            error.add_note(f"the server's script failed: {failure!r}")

    async def accept(self) -> None:
        """Listen, on the same port as before. Does nothing where the server listens already."""
        if self._parked is not None:
            parked, self._parked = self._parked, None
            # 5,000 clients may knock at once: the usual backlog of 100 would make them wait a second each.
            self._listener = await asyncio.start_server(
                self._connected, sock=parked, ssl=self._ssl, backlog=4096
            )

    async def refuse(self) -> None:
        """Close the port: every new connection is refused. Those that stand go on."""
        if not REUSE_PORT:  # as on Windows
            await self._stop_listening()
        if self._parked is None:
            self._park()  # first: between the two, somebody else could get the port
        await self._stop_listening()

    def release(self) -> None:
        """Let every stalled answer go on, now and later."""
        self._released.set()

    async def received(self, count: int) -> None:
        """Wait until that many requests have arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    async def all_closed(self) -> None:
        """Wait until no connection stands: the client has dropped them all, or the script has."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.open_connections == 0)

    def count(self, method: str, path: str = "") -> int:
        """How many requests with this method had a path that starts like this."""
        return sum(r.method == method and r.path.startswith(path) for r in self.requests)

    def _park(self) -> None:
        """Hold the port without listening, so that nobody else gets it and connecting is refused."""
        parked = socket.socket()
        parked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if REUSE_PORT:
            parked.setsockopt(socket.SOL_SOCKET, REUSE_PORT, 1)  # beside our own that still listens
        parked.bind(("127.0.0.1", self.port))
        self.port = parked.getsockname()[1]
        self._parked = parked

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            # wait_closed() would wait for the connections too, since Python 3.12.
            self._listener.close()
            self._listener = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open_connections += 1
        connection = Connection(reader, writer, self.connections, self._released, self.refuse)
        try:
            await self._serve(connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left: what the tests are about
        except asyncio.CancelledError:
            pass  # the server stops; asyncio's streams would log a cancelled handler
        except Exception as error:
            self._failures.append(error)
        finally:
            connection.drop()
            self.open_connections -= 1
            await self._notify()

    async def _serve(self, connection: Connection) -> None:
        if self._is_next("connect"):
            return await self._next_step().play(connection)
        while not connection.ended:
            first = await connection.first_byte()
            if not first:
                return
            if self._is_next("connect") or self._is_next("first byte"):
                step = self._next_step()
            else:
                request = await connection.read_request(first)
                self.requests.append(request)
                await self._notify()
                step = self._answer(request) if self._answer else self._next_step()
            await step.play(connection)

    def _is_next(self, moment: Moment) -> bool:
        return bool(self._steps) and self._steps[0].moment == moment

    def _next_step(self) -> Step:
        if not self._steps:
            raise AssertionError("a request that the script does not foresee")
        return self._steps[0] if isinstance(self._steps[0], Forever) else self._steps.pop(0)

    async def _notify(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closing
            async with self._changed:
                self._changed.notify_all()
