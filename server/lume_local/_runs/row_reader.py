"""Reads pages of rows from the outputs of runs, in separate processes: the server itself never parses a file.

These processes are not the workers of runs, so neither waits for the other. They start with the first request; at
most `READERS` are used at a time, and further requests wait.
"""

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from attrs import evolve

from lume_local._flow.definition import Flow
from lume_local._runs.health import Health
from lume_local._runs.output_reads import read_output
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun
from lume_local._runs.workers.child import Secrets
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import (
    Gather,
    Gathered,
    Read,
    Repair,
    Repaired,
    RowsPage,
    Unreadable,
)

READERS = 2
_MOST = 4
"""Processes kept while there is work, for readers and checks of sources. With fewer, each job starts its own, and of
many simultaneous duplicates, most get no answer in time on whether their source has changed.
"""


class RowReader:
    """Reads pages while its `running` block lasts.

    Args:
        folder: for copies of objects; emptied at the start, since a killed process leaves its copies.
        secrets: the server's own, which must not be in the environment of its processes.
    """

    def __init__(self, folder: Path, health: Health, secrets: Secrets = frozenset) -> None:
        self._folder = folder
        self.pool = WorkerPool(_MOST, health, secrets=secrets)
        self._turns = anyio.Semaphore(READERS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await remove_folder(self._folder)  # leftovers of a killed server
        async with self.pool.running():
            yield

    async def page(self, job: Read) -> tuple[RowsPage, bytes] | Unreadable:
        """Read one page; return it with its rows, as JSON or Arrow. Raises `WorkerDied`."""
        folder = self._folder / uuid.uuid4().hex
        async with self._turns:
            try:
                page = await self.pool.read(evolve(job, folder=str(folder)))
                if isinstance(page, Unreadable):
                    return page
                return page, await run_sync(Path(page.items).read_bytes) if job.arrow else page.items.encode()
            finally:
                await remove_folder(folder)

    async def repair(self, job: Repair) -> Repaired:
        """Return candidates for the intended values. Raises `WorkerDied`."""
        async with self._turns:
            return await self.pool.repair(job)

    async def gather(self, job: Gather) -> Gathered:
        """Add rejects to the files of a replay. Raises `WorkerDied`."""
        async with self._turns:
            return await self.pool.gather(job)


async def remove_folder(folder: Path) -> None:
    """Remove a folder, even if the caller is cancelled; errors are ignored."""
    with anyio.CancelScope(shield=True):
        await run_sync(partial(shutil.rmtree, folder, ignore_errors=True))


async def output_job(
    store: SqlStore, roots: Roots, run: StoredRun, flow: Flow, part: str, *, limit: int = 1
) -> Read | None:
    """Return the job for the first page of an output at its current place; None if there is none any longer."""
    identity = await store.outputs.identity(run.run_id, part)
    if identity == "" or run.target_locations.get(part) is None:
        return None
    job = read_output(run, flow, part, identity or "", limit=limit)
    return evolve(job, path=roots.output(job.path))
