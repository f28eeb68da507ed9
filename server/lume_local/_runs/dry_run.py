"""Runs that leave only a response: no row in the state, no output, no claim on the source.

They are executed one at a time, with keys taking turns, outside the lanes, each in a worker process like every run.
Their folders are removed at the end; if the server was killed, they are removed with the folders of other runs.
"""

import uuid
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import anyio
from attrs import evolve, field, frozen

from lume_async._base.elided import bounded
from lume_async.models import RunStatus
from lume_local._flow.definition import Flow
from lume_local._runs.execution import Stop
from lume_local._runs.output_reads import read_output
from lume_local._runs.row_reader import RowReader, remove_folder
from lume_local._runs.sources.paths import PathRefused
from lume_local._runs.sources.resolver import RunSeeds
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.store.ledger import Claim
from lume_local._runs.store.records import StoredRun
from lume_local._runs.times import closed, entered, now_text
from lume_local._runs.turns import Turns
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import Done, Execute, Failed, Json, StageBegun, Unreadable


@frozen
class DryRunResult:
    """The final state of a run, its first rows of each kind as JSON arrays, and its ledger entries."""

    run: StoredRun
    rows: dict[str, bytes]
    ledger: dict[str, Any] = field(factory=dict)


class DryRuns:
    def __init__(
        self, paths: RunPaths, pool: WorkerPool, reader: RowReader, time_limit: float | None
    ) -> None:
        self._paths, self._pool, self._reader, self._time_limit = paths, pool, reader, time_limit
        self._turns = Turns()

    async def do(
        self,
        flow: Flow,
        source_path: str,
        run_metadata: Any,
        limit: int,
        seeds: RunSeeds | None = None,
        layout: str | None = None,
        *,
        by: str,
        claims: Sequence[Claim] = (),
        is_draft: bool = False,
    ) -> DryRunResult:
        """Execute a run without its commit; return `limit` rows of each kind. Raises compile errors of the flow.

        Args:
            by: the name of the requesting key.
            claims: the rejects of other runs that the source contains.
            is_draft: whether the flow version is not registered.
        """
        run = StoredRun(
            seq=0,
            run_id=f"dry_{uuid.uuid4().hex}",
            rev=0,
            flow_version=flow.ref,
            source_path=source_path,
            source_key="",
            run_metadata=run_metadata,
            force_rerun=False,
            status=RunStatus.CREATED,
            created_at=now_text(),
            seeds=seeds or {},
            layout=layout,
        )
        async with self._turns.turn(by):
            try:
                job = await self._paths.job(run, flow if is_draft else None, claims)
                job = evolve(job, dry_run=True, engine=None, is_replay=bool(claims))
                run, built, ledger = await self._executed(run, await self._paths.hold_uploads(job))
                return DryRunResult(run, await self._rows(run, flow, built, limit), ledger)
            except PathRefused as error:
                return DryRunResult(_ended(run, RunStatus.FAILED, str(error)), {})
            except WorkerDied as error:
                return DryRunResult(_ended(run, RunStatus.CRASHED, str(error)), {})
            finally:
                await remove_folder(self._paths.folder(run.run_id))

    async def _executed(self, run: StoredRun, job: Execute) -> tuple[StoredRun, dict[str, str], Json]:
        """Return the ended run, its files of rows, and its ledger entries. Raises `WorkerDied`."""
        run = evolve(run, started_at=now_text())
        with anyio.move_on_after(self._time_limit):
            async with self._pool.worker() as worker, aclosing(worker.run(job)) as events:
                async for event in events:
                    match event:
                        case StageBegun(name, rows, _):
                            run = evolve(run, stages=entered(run.stages, name, rows, now_text()))
                        case Done(record):
                            status, built = RunStatus(record["status"]), record["built"]
                            run = _ended(run, status, record["message"], record["metrics"])
                            return run, built, record["ledger"]
                        case Failed(message, metrics):
                            return _ended(run, RunStatus.FAILED, message, metrics), {}, {}
                raise WorkerDied(await worker.death())
        message = Stop.OVERDUE.value[1].format(limit=self._time_limit or 0.0)
        return _ended(run, RunStatus.FAILED, message), {}, {}

    async def _rows(self, run: StoredRun, flow: Flow, built: dict[str, str], limit: int) -> dict[str, bytes]:
        found = dict[str, bytes]()
        for part in built if limit else ():
            written = evolve(run, target_locations=built)
            page = await self._reader.page(read_output(written, flow, part, "", limit=limit))
            if isinstance(page, Unreadable):
                raise RuntimeError(f"the {part} rows can't be read back: {page.problem}")
            _, found[part] = page
        return found


def _ended(
    run: StoredRun, status: RunStatus, message: str | None, metrics: dict[str, Any] | None = None
) -> StoredRun:
    now = now_text()
    rows = metrics["rows_read"] if metrics else None
    return evolve(
        run,
        status=status.value,
        finished_at=now,
        stages=closed(run.stages, rows, now),
        metrics=bounded(metrics or {}),
        error_message=message,
    )
