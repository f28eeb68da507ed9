"""Finds out whether rejects with open rows are still there: somebody may have removed or restored them.

Their rows are lost to sight as long as they are away. A reader notices it, too; this is for those that nobody reads.
"""

from pathlib import Path

from anyio.to_thread import run_sync

from lume_local._runs.sources.paths import Roots
from lume_local._runs.sql.sql_store import SqlStore

_AT_ONCE = 100
"""Runs per step."""


class LostRejects:
    def __init__(self, store: SqlStore, roots: Roots) -> None:
        self._store, self._roots = store, roots
        self._after = 0

    async def check(self) -> int:
        """Look at the rejects of some runs; how many, 0 once all were looked at. Raises OSError, `StoreFailed`.

        Objects of stores are not looked at: that would take a request each.
        """
        found = await self._store.ledger.unended(self._after, _AT_ONCE)
        for one in found:
            self._after = one.seq
            run = await self._store.require(one.run_id)
            location = run.target_locations.get("rejects")
            removed = await self._store.outputs.identity(run.run_id, "rejects") == ""
            if location is None or removed or "://" in location:
                continue
            is_there = await run_sync(Path(self._roots.output(location)).exists)
            if is_there == one.is_lost:
                await (self._store.ledger.find if is_there else self._store.ledger.lose)(run.run_id)
        if not found:
            self._after = 0
        return len(found)
