"""Records acts that belong to no transaction, such as rereading the keys."""

from collections import deque
from functools import partial
from pathlib import Path

import anyio

from lume_local._runs.health import Health
from lume_local._runs.sql.sql_audit import SqlAudit
from lume_local._runs.store.audit import RELOAD, Act
from lume_local._runs.upkeep import until_it_works

_MOST = 100
"""Acts waiting to be recorded; beyond that the oldest are dropped, but the log still has them."""
_RETRY = 5.0
_WHAT = "the audit"


class Acts:
    """Accepts acts from anywhere on the event loop's thread; they are recorded while `note` runs."""

    def __init__(self, audit: SqlAudit, health: Health) -> None:
        self._audit, self._health = audit, health
        self._waiting: deque[Act] = deque(maxlen=_MOST)
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
                await until_it_works(partial(self._audit.note, act), _WHAT, self._health, _RETRY)
                if self._waiting and self._waiting[0] is act:
                    self._waiting.popleft()
