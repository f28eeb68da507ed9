"""The rows of what runs have written, read in processes of their own: a file is never in this one.

Those processes are apart from the workers of runs, so that neither waits for the other. There is none before
somebody reads, and at most `READERS`; who comes then waits for a turn.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from lume_local._flow.definition import Flow
from lume_local._runs.health import Health
from lume_local._runs.records import Run
from lume_local._runs.worker_pool import Pool
from lume_local._shared.protocol import Page, Read, Unreadable

READERS = 2
_PLAIN = {"delim": ",", "quote": '"', "escape": ""}
_LITERALS = {"integer": "number", "number": "number", "boolean": "boolean"}


class RowReader:
    """Reads pages while `running`."""

    def __init__(self, health: Health) -> None:
        self._pool = Pool(1, health)
        self._turns = anyio.Semaphore(READERS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads as long as the block lasts."""
        async with self._pool.running():
            yield

    async def page(self, job: Read) -> Page | Unreadable:
        """One page. Raises `WorkerDied`."""
        async with self._turns:
            return await self._pool.read(job)

    def job(
        self, run: Run, flow: Flow, part: str, identity: str, *, limit: int, reason: str | None = None
    ) -> Read:
        """The first page of an output that a run has; its identity is empty where none was noted."""
        is_rejects = part == "rejects"
        location = str(run.target_locations[part])
        # Rejects in the format of their source have its dialect and encoding, too.
        as_source = is_rejects and flow.source.format == "csv"
        source = flow.source
        dialect = {"delim": source.delim, "quote": source.quote, "escape": source.escape}
        literals = {
            column.name: _LITERALS[column.type] for column in flow.columns if column.type in _LITERALS
        }
        return Read(
            path=location,
            identity=identity,
            csv=dialect if as_source else _PLAIN,
            encoding=source.encoding if as_source else "utf-8",
            kinds={} if is_rejects else literals,
            position="0",
            row=0,
            rows=run.metrics["rows_rejected" if is_rejects else "rows_mapped"],
            limit=limit,
            is_rejects=is_rejects,
            reasons=list(run.metrics["reject_reasons"]) if is_rejects else [],
            reason=reason,
        )
