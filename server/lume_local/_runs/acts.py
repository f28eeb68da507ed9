"""Notes acts that are part of no transaction, such as that the keys were read again."""

from collections import deque
from functools import partial
from pathlib import Path

import anyio

from lume_local._runs.health import Health
from lume_local._runs.sql.sql_audit import SqlAudit
from lume_local._runs.store.audit import RELOAD, Act
from lume_local._runs.upkeep import until_it_works

_MOST = 100
"""Acts that wait to be noted; of more, the oldest are lost, and the log still has them."""
_RETRY = 5.0
_WHAT = "the audit"


class Acts:
    """Takes acts from anywhere in the event loop's thread; they are noted as long as `note` runs."""

    def __init__(self, audit: SqlAudit, health: Health) -> None:
        self._audit, self._health = audit, health
        self._waiting: deque[Act] = deque(maxlen=_MOST)
        self._more = anyio.Event()

    def add(self, act: Act) -> None:
        self._waiting.append(act)
        self._more.set()

    def reloaded(self, path: Path, **detail: int) -> None:
        """The server has read a file again, and what it says is in effect."""
        self.add(Act("server", RELOAD, str(path), detail))

    async def note(self) -> None:
        """Note what was added, until cancelled."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._waiting:
                act = self._waiting[0]
                await until_it_works(partial(self._audit.note, act), _WHAT, self._health, _RETRY)
                if self._waiting and self._waiting[0] is act:
                    self._waiting.popleft()
