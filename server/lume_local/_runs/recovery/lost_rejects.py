"""Finds out whether rejects with open rows are still there: somebody may have removed or restored them.

Their rows are lost to sight as long as they are away. A reader notices it, too; this is for those that nobody reads.
"""

from collections.abc import Iterable
from pathlib import Path

from anyio import sleep
from anyio.to_thread import run_sync

from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.ledger import UnendedRows

_AT_ONCE = 200
"""Runs per step: one statement of 2 ms, and one visit to a thread."""
_PAUSE = 0.02
"""Seconds after each step, for requests and runs."""


class LostRejects:
    def __init__(self, store: SqlStore) -> None:
        self._store, self._after = store, 0

    async def check(self) -> int:
        """Look at the rejects of some runs; how many, 0 once all were looked at. Raises OSError, `StoreFailed`.

        Objects of stores are not looked at: that would take a request each.
        """
        found = await self._store.ledger.unended(self._after, _AT_ONCE)
        if not found:
            self._after = 0
            return 0
        for one in await run_sync(_changed, found):
            await (self._store.ledger.find if one.is_lost else self._store.ledger.lose)(one.run_id)
        self._after = found[-1].seq
        await sleep(_PAUSE)
        return len(found)


def _changed(found: Iterable[UnendedRows]) -> list[UnendedRows]:
    """Those whose rejects are lost and are there, or the other way round. Raises OSError."""
    return [
        one
        for one in found
        if one.location is not None
        and "://" not in one.location
        and Path(one.location).exists() == one.is_lost
    ]
