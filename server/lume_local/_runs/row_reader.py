"""Reads pages of rows from the outputs of runs, in separate processes: the server itself never parses a file.

These processes are not the workers of runs, so neither waits for the other. They start with the first request; at
most `READERS` are used at a time, and further requests wait.
"""

import shutil
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from attrs import evolve

from lume_local._flow.definition import Flow
from lume_local._runs.health import Health
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun
from lume_local._runs.unusual import is_mend, mends_others
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import (
    ArrowFile,
    Gather,
    Gathered,
    Json,
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

    def __init__(self, folder: Path, health: Health, secrets: Collection[str] = ()) -> None:
        self._folder = folder
        self.pool = WorkerPool(_MOST, health, secrets=secrets)
        self._turns = anyio.Semaphore(READERS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await remove_folder(self._folder)  # leftovers of a killed server
        async with self.pool.running():
            yield

    async def page(self, job: Read) -> RowsPage | Unreadable:
        """Read one page. Raises `WorkerDied`."""
        async with self._turn(job) as turn:
            page = await self.pool.read(turn)
            assert not isinstance(page, ArrowFile)
            return page

    async def arrow(self, job: Read) -> tuple[ArrowFile, bytes] | Unreadable:
        """Read one page as Arrow; return its description and the content of its file. Raises `WorkerDied`."""
        async with self._turn(job) as turn:
            page = await self.pool.read(evolve(turn, arrow=True))
            assert not isinstance(page, RowsPage)
            return (
                page if isinstance(page, Unreadable) else (page, await run_sync(Path(page.path).read_bytes))
            )

    @asynccontextmanager
    async def _turn(self, job: Read) -> AsyncIterator[Read]:
        """Wait for a turn; provide the job with an output folder while the block runs."""
        folder = self._folder / uuid.uuid4().hex
        async with self._turns:
            try:
                yield evolve(job, folder=str(folder))
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


LINES = "malformed_lines"
"""The member of a run's metrics that says how to read its malformed lines (see `line_forms` of the worker)."""
PLAIN = {"delim": ",", "quote": '"', "escape": ""}
_LITERALS = {"integer": "number", "number": "number", "boolean": "boolean"}


def lines_of(run: StoredRun, flow: Flow | None) -> list[Json] | None:
    """Return how to read the malformed lines among a run's rejects when they are corrected.

    Runs of earlier releases have no record of it. The result is then None if all their lines have the header of the
    rejects, and an empty list if that can't be known.
    """
    found: list[Json] | None = run.metrics.get(LINES)
    if found is not None:
        return found
    source = None if flow is None else flow.source
    if source is not None and (source.header.names or (source.fixed is not None and source.fixed.names)):
        return None
    is_of_lines = source is None or source.format in ("csv", "fixed")
    several = len(run.metrics.get("source", {}).get("files", ())) > 1
    of_others = mends_others(run.run_metadata) or is_mend(run.run_metadata)
    return None if is_of_lines and not several and not of_others else []


def layouts_of(run: StoredRun) -> dict[str, str]:
    """Return the layouts of a run's files by their names; by an empty name if it had only one."""
    source = run.metrics.get("source") or {}
    found = {one["file"]: one["layout"] for one in source.get("files", ()) if "layout" in one}
    layouts = list(source.get("layouts", ()))
    return found | ({"": layouts[0]} if len(layouts) == 1 else {})


def read_output(
    run: StoredRun, flow: Flow, part: str, identity: str, *, limit: int, reason: str | None = None
) -> Read:
    """Return the job for the first page of an output; an empty identity matches any file."""
    is_rejects = part == "rejects"
    rows = run.metrics["rows_rejected" if is_rejects else "rows_mapped"]
    job = read_mapped(str(run.target_locations[part]), rows, flow, identity, limit=limit)
    if not is_rejects:
        return job
    reasons = list(run.metrics["reject_reasons"])
    job = evolve(job, kinds={}, types={}, is_rejects=True, reasons=reasons, reason=reason)
    source = flow.source
    if source.format != "csv":
        return job
    # Rejects of a CSV source keep its dialect and encoding.
    dialect = {"delim": source.delim, "quote": source.quote, "escape": source.escape}
    return evolve(job, csv=dialect, encoding=source.encoding)


def read_mapped(location: str, rows: int, flow: Flow, identity: str, *, limit: int) -> Read:
    kinds = {column.name: _LITERALS[column.type] for column in flow.columns if column.type in _LITERALS}
    types = {column.name: column.sql_type for column in flow.columns}
    return Read(location, identity, PLAIN, "utf-8", kinds, "0", 0, rows, limit, types=types)


async def output_job(
    store: SqlStore, roots: Roots, run: StoredRun, flow: Flow, part: str, *, limit: int = 1
) -> Read | None:
    """Return the job for the first page of an output at its current place; None if there is none any longer."""
    identity = await store.outputs.identity(run.run_id, part)
    if identity == "" or run.target_locations.get(part) is None:
        return None
    job = read_output(run, flow, part, identity or "", limit=limit)
    return evolve(job, path=roots.output(job.path))
