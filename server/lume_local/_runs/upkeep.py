"""Recurring work of a server: writes that must succeed, daily sweeps, retries, and acts of its own for the audit."""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel

from lume_local._runs.health import Health, why
from lume_local._runs.sql.sql_audit import SqlAudit
from lume_local._runs.store.audit import RELOAD, Act
from lume_local._runs.store.records import StoreFailed

T = TypeVar("T")

INTERVAL = 86400.0
"""Seconds between two sweeps."""
RETRY = 60.0
AT_ONCE = 1000
"""Rows of each kind per transaction: requests are answered in between."""


async def until_it_works(work: Callable[[], Awaitable[T]], what: str, health: Health, pause: float) -> T:
    """Repeat work until neither the state nor a file prevents it; report the obstacle meanwhile."""
    while True:
        try:
            done = await work()
        except (StoreFailed, OSError) as error:
            health.trouble(what, why(error))
            await anyio.sleep(pause)
        else:
            health.works(what)
            return done


async def sweep_daily(step: Callable[[], Awaitable[int]], what: str, health: Health) -> None:
    """Sweep until cancelled; a step returns how much it has removed, 0 once nothing is left."""

    async def sweep() -> None:
        while await step():
            await anyio.lowlevel.checkpoint()

    while True:
        await until_it_works(sweep, what, health, RETRY)
        await anyio.sleep(INTERVAL)


async def retry_rounds(
    round_: Callable[[], Awaitable[tuple[int, str]]], what: str, health: Health, first: float, longest: float
) -> None:
    """Repeat a round until cancelled; the pause doubles while there is an obstacle.

    Args:
        round_: tries everything once; returns how many runs still wait, and the first reason, empty if there is none.
        what: names the work, for the log and `GET /healthz`.
    """
    pause = first
    while True:
        runs, reason = await round_()
        if reason:
            health.waits(what, runs, reason)
            pause = min(2 * pause, longest)
        else:
            health.works(what)
            pause = first
        await anyio.sleep(pause)


_MOST_ACTS = 100
"""Acts waiting to be recorded; beyond that the oldest are dropped, but the log still has them."""
_RETRY_ACT = 5.0


class Acts:
    """Records acts that belong to no transaction, such as rereading the keys, while `note` runs."""

    def __init__(self, audit: SqlAudit, health: Health) -> None:
        self._audit, self._health = audit, health
        self._waiting: deque[Act] = deque(maxlen=_MOST_ACTS)
        self._more = anyio.Event()

    def add(self, act: Act) -> None:
        self._waiting.append(act)
        self._more.set()

    def reloaded(self, path: Path, **detail: int) -> None:
        """Add the act that the server has reread a file, whose content is now in effect."""
        self.add(Act("server", RELOAD, str(path), detail))

    async def note(self) -> None:
        """Record the added acts until cancelled."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._waiting:
                act = self._waiting[0]
                await until_it_works(partial(self._audit.note, act), "the audit", self._health, _RETRY_ACT)
                if self._waiting and self._waiting[0] is act:
                    self._waiting.popleft()
