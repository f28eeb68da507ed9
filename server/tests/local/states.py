"""Stores for tests: a change in one step, and a store between whose operations anything may happen."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

from lume_local._runs.sql.operation import Publishing
from lume_local._runs.sql.sql_outbox import SqlDeliveries
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun

_ANY: Any = None
PARTS = {
    name: type(part)
    for name, part in vars(SqlStore(_ANY, _ANY, "", Publishing(), SqlDeliveries(_ANY))).items()
    if type(part).__module__.startswith("lume_local.") and not name.startswith("_")
}
"""The parts of a store, each with operations of its own."""
Pause = Callable[[str], Awaitable[None]]
"""What happens before (`<create`) and after (`create>`) each operation."""


async def moved(store: SqlStore, run_id: str, status: str, **values: Any) -> StoredRun:
    """A run after a change of the state in which it is."""
    run = await store.update(await store.require(run_id), status, **values)
    assert run is not None
    return run


def switching() -> Pause:
    """Lets the other tasks take one to three steps, as an operation does that waits for another machine."""
    steps = cycle((1, 3, 2))

    async def pause(_: str) -> None:
        for _ in range(next(steps)):
            await asyncio.sleep(0)

    return pause


class Interleaved:
    """A store whose operations take their time: what a caller has read may be out of date when it acts on it."""

    def __init__(self, store: SqlStore, pause: Pause | None = None) -> None:
        self._pause = pause or switching()
        self._real: Any = store
        for name in PARTS:
            setattr(self, name, _Part(getattr(store, name), self._pause))

    def __getattr__(self, name: str) -> Any:
        return _operation(getattr(self._real, name), self._pause)

    @asynccontextmanager
    async def submissions_paused(self) -> AsyncIterator[None]:
        await self._pause("<submissions_paused")
        async with self._real.submissions_paused():
            await self._pause("submissions_paused>")
            yield


class _Part:
    def __init__(self, part: object, pause: Pause) -> None:
        self._part, self._pause = part, pause

    def __getattr__(self, name: str) -> Any:
        return _operation(getattr(self._part, name), self._pause)


def _operation(found: Any, pause: Pause) -> Any:
    if not inspect.iscoroutinefunction(found):
        return found

    async def carried_out(*args: Any, **kwargs: Any) -> Any:
        await pause(f"<{found.__name__}")
        result = await found(*args, **kwargs)
        await pause(f"{found.__name__}>")
        return result

    return carried_out
