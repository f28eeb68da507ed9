"""Checks whether rejects with open rows still exist: somebody may have removed or restored them.

Open rows are lost while their rejects are missing. A reader notices that, too; this check covers the unread ones.
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
"""The pause in seconds after each step, for requests and runs."""


class LostRejects:
    def __init__(self, store: SqlStore) -> None:
        self._store, self._after = store, 0

    async def check(self) -> int:
        """Check the rejects of some runs; return how many, 0 once all were checked. Raises OSError, `StoreFailed`.

        Objects in stores are skipped: each would take a request.
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
    """Return the runs whose rejects have reappeared or disappeared. Raises OSError."""
    return [
        one
        for one in found
        if one.location is not None
        and "://" not in one.location
        and Path(one.location).exists() == one.is_lost
    ]
