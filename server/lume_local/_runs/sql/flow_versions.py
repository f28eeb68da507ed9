"""Flow versions, and their use by runs."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import orjson

from lume_local._runs.sql.operation import Sql, marks, statement, writing
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.sql.tables import DONE
from lume_local._runs.store.audit import Act
from lume_local._runs.store.records import StoredFlow


class Pauses:
    """Pauses submissions; a matter of this server's tasks, since only the server with the lease submits.

    A waiting submission holds no connection: those are for the pause.
    """

    def __init__(self) -> None:
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._submitting = 0
        self._none = anyio.Event()

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[None]:
        async with self._one_at_a_time:  # held for the whole pause
            self._submitting += 1
        try:
            yield
        finally:
            self._submitting -= 1
            if not self._submitting:
                self._none.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        async with self._one_at_a_time:
            while self._submitting:
                self._none = anyio.Event()
                await self._none.wait()
            yield


_PUT_FLOW = """
INSERT INTO flow_versions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (ref) DO UPDATE SET
content_hash = excluded.content_hash, definition = excluded.definition, compiled = excluded.compiled,
compiled_by = excluded.compiled_by, created_at = excluded.created_at
"""


class FlowVersions:
    """The flow versions of a store; the registry decides which may be replaced."""

    def __init__(self, sql: Sql) -> None:
        self.sql, self._pauses = sql, Pauses()

    def submissions_paused(self) -> AbstractAsyncContextManager[None]:
        """Delay the creation of runs and the storing of flow versions while the block runs. Keep it short."""
        return self._pauses.paused()

    async def put_flow(self, flow: StoredFlow, act: Act | None = None) -> None:
        """Store a flow version or its newly compiled form, with the act, if any."""
        async with self._pauses.submitting():
            await self._put_flow(flow, act)

    @writing
    async def _put_flow(self, flow: StoredFlow, act: Act | None) -> None:
        definition, compiled = (orjson.dumps(one).decode() for one in (flow.definition, flow.compiled))
        values = [flow.ref, flow.content_hash, definition, compiled, flow.compiled_by, flow.created_at]
        await self.sql.change(_PUT_FLOW, values)
        if act is not None:
            await add_act(self.sql, act)
        self.sql.must_last()

    @statement
    async def flows(self) -> list[StoredFlow]:
        """Return all flow versions."""
        rows = await self.sql.rows(
            "SELECT ref, content_hash, definition, compiled, compiled_by, created_at FROM flow_versions"
        )
        return [
            StoredFlow(row[0], row[1], orjson.loads(row[2]), orjson.loads(row[3]), row[4], row[5])
            for row in rows
        ]

    @statement
    async def runs_of(self, refs: Collection[str], *, with_output: bool = False) -> dict[str, int]:
        """Return how many runs, or runs with output, used each of these flow versions; unused ones are omitted."""
        wanted = f"flow_version IN ({marks(refs)})" + (f" AND {DONE}" if with_output else "")
        query = (
            f"SELECT flow_version, sum(runs) FROM run_counts WHERE {wanted} GROUP BY 1 HAVING sum(runs) > 0"
        )
        return {row[0]: row[1] for row in await self.sql.rows(query, list(refs))}

    @statement
    async def is_used(self, ref: str) -> bool:
        """Return whether any run used a flow version, even if it was purged since."""
        query = "SELECT 1 FROM run_counts WHERE flow_version = ? AND runs > 0 LIMIT 1"
        return await self.sql.row(query, [ref]) is not None
