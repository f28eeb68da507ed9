"""One shared client and monitor per connection and event loop.

A triggerer runs thousands of triggers on one loop. With separate clients they would open thousands of connections
and poll separately; together they need one change feed.

    trigger ── shared() ── SharedClient ── Monitor ── _read ── the future of each run

The client stays open for a while after its last user, for triggers that follow one another.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import anyio

from lume_airflow._connection import ConnectionSettings
from lume_async import Client, LumeRun, Monitor

LINGER = 300.0
"""Seconds for which an unused client stays open: a DAG's tasks come in waves."""

_HOLDERS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ConnectionSettings, SharedClient]]" = (
    WeakKeyDictionary()
)


@asynccontextmanager
async def shared(settings: ConnectionSettings) -> "AsyncGenerator[SharedClient, None]":
    """Yield the client of this loop and connection, opened on first use."""
    holders = _HOLDERS.setdefault(asyncio.get_running_loop(), {})
    holder = holders.get(settings)
    if holder is None:
        holder = holders[settings] = SharedClient(settings, holders)
    holder.count_users(1)
    try:
        await asyncio.shield(holder.opened)
        yield holder
    finally:
        holder.count_users(-1)


class SharedClient:
    """A client and its monitor, owned by a task of its own.

    Args:
        holders: the table from which it removes itself at the end.
    """

    def __init__(
        self, settings: ConnectionSettings, holders: "dict[ConnectionSettings, SharedClient]"
    ) -> None:
        self.settings = settings
        self._holders = holders
        self._users = 0
        self._changed = asyncio.Event()
        self._waiting: dict[str, set[asyncio.Future[LumeRun]]] = {}
        self.opened: asyncio.Future[tuple[Client, Monitor]] = asyncio.get_running_loop().create_future()
        # In an empty context: its log records do not belong to the first task.
        self._owner = asyncio.get_running_loop().create_task(self._own(), context=contextvars.Context())

    @property
    def client(self) -> Client:
        """The client, inside a `shared` block."""
        return self.opened.result()[0]

    def count_users(self, more: int) -> None:
        self._users += more
        self._changed.set()

    async def wait(self, run: LumeRun) -> LumeRun:
        """Wait for the end of a run, in whatever status. Raises `LumeError` if the run can't be followed."""
        if run.is_terminal:
            return run
        future: asyncio.Future[LumeRun] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(run.id, set())
        waiting.add(future)
        _client, monitor = self.opened.result()
        try:
            monitor.add(run)
            return await future
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(run.id) is waiting:
                del self._waiting[run.id]
                if not self._owner.done():
                    monitor.discard(run.id)

    async def _own(self) -> None:
        """Open the client, read the events, and close it after a while without users."""
        try:
            async with Client(**self.settings.client_options()) as client, client.monitor() as monitor:
                self.opened.set_result((client, monitor))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read, monitor)
                    await self._until_unused()
                    self._withdraw()
                    tasks.cancel_scope.cancel()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._withdraw()

    async def _until_unused(self) -> None:
        while True:
            self._changed.clear()
            if self._users:
                await self._changed.wait()
                continue
            with anyio.move_on_after(LINGER):
                await self._changed.wait()
            if not self._users and not self._changed.is_set():
                return

    def _withdraw(self) -> None:
        if self._holders.get(self.settings) is self:
            del self._holders[self.settings]

    async def _read(self, monitor: Monitor) -> None:
        async for event in monitor:
            if event.error is None and not event.run.is_terminal:
                continue
            for future in self._waiting.pop(event.run.id, set()):
                if future.done():
                    continue
                if event.error is not None:
                    future.set_exception(event.error)
                else:
                    future.set_result(event.run)

    def _fail(self, error: BaseException) -> None:
        """Pass the error to all waiting users; the next user opens a new client."""
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        waiting: list[asyncio.Future[Any]] = [each for futures in self._waiting.values() for each in futures]
        for future in [self.opened, *waiting]:
            if future.done():
                continue
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()
        self._waiting.clear()
