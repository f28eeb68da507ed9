"""Forgets what nobody will ask for any more: at the start and daily, a little at a time. Runs stay."""

import asyncio
import logging

from lume_local._runs.store import Store
from lume_local._runs.times import ago_text

_log = logging.getLogger("lume_local")

INTERVAL = 86400.0
"""Seconds between two sweeps."""
_AT_ONCE = 1000
"""Rows of each kind per transaction: requests are answered in between."""


class Retention:
    """One task that sweeps. `open` it, `close` it.

    Args:
        store: what is swept.
        keep: how many seconds things are kept; None for ever.
    """

    def __init__(self, store: Store, keep: float | None) -> None:
        self._store = store
        self._keep = keep
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin with a sweep."""
        if self._keep is not None:
            self._task = asyncio.create_task(self._work(self._keep), name="retention")

    async def close(self) -> None:
        """Stop, between two transactions."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self, keep: float) -> None:
        while True:
            try:
                before = ago_text(keep)
                while self._store.forget(before, _AT_ONCE):  # noqa: ASYNC110 - nothing is awaited but one's turn
                    await asyncio.sleep(0)
            except Exception:
                _log.exception("old rows can't be dropped; trying again in a day")
            await asyncio.sleep(INTERVAL)
