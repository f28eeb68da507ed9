"""Runs from CREATED to their end: each has a worker process to itself, at most `max_active` at a time."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lume_async.models import RunStatus
from lume_local._runs.flow_registry import Flows
from lume_local._runs.paths import PathRefused, Roots, spelled
from lume_local._runs.store import NewRun, Run, Store
from lume_local._runs.times import now_text
from lume_local._runs.waiters import Hub
from lume_local._runs.webhook_body import event_body
from lume_local._runs.worker_pool import Pool, Worker, WorkerDied
from lume_local._shared import commit as _publish
from lume_local._shared.lock import Locked, held
from lume_local._shared.protocol import Cancelled, Done, Execute, Failed, Json, Outcome, Progress, Stage

_log = logging.getLogger("lume_local")

MEMORY_LIMIT = "1GB"
THREADS = 2
"""What one run may use."""
_PATIENCE = 10.0
_NOTHING_WRITTEN = "nothing was written: submit the run again"


class Runner:
    """Starts, follows and ends runs. `open` it, `close` it; used from one event loop."""

    def __init__(
        self,
        store: Store,
        flows: Flows,
        pool: Pool,
        hub: Hub,
        roots: Roots,
        max_active: int,
        on_end: Callable[[], None],
    ) -> None:
        self._store, self._flows, self._pool, self._hub, self._roots = store, flows, pool, hub, roots
        self._max_active = max_active
        self._on_end = on_end
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._lanes: list[asyncio.Task[None]] = []
        self._workers: dict[str, Worker] = {}
        self._cancelled: set[str] = set()
        self._progress: dict[str, float] = {}
        self._closing = False

    # -- what requests ask for

    def submit(self, new: NewRun) -> tuple[Run, bool]:
        """Create a run (or find the one of its idempotency key). Raises `Duplicate`, `KeyReused`."""
        run, is_new = self._store.create(new)
        if is_new:
            self._queue.put_nowait(run.run_id)
            self._hub.notify(run.run_id)
        return run, is_new

    def progress(self, run_id: str) -> float | None:
        """How far an active run is, 0 to 1; None where it isn't known."""
        return self._progress.get(run_id)

    async def cancel(self, run_id: str) -> Run:
        """Ask a run to stop. One that still waits is cancelled at once; one that has committed goes on."""
        run = self._store.require(run_id)
        if RunStatus(run.status).is_terminal:
            return run
        self._cancelled.add(run_id)
        worker = self._workers.get(run_id)
        if worker is not None:
            await worker.cancel()
        elif run.status == RunStatus.CREATED:
            await self._end(run_id, RunStatus.CANCELLED, message="cancelled before it began")
        return self._store.require(run_id)

    def workers(self) -> dict[str, int]:
        """The process id of each active run's worker."""
        return {run_id: worker.pid for run_id, worker in self._workers.items()}

    # -- life cycle of the runner

    async def open(self) -> None:
        """Settle what an earlier server left behind, then take up work."""
        for run in self._store.unfinished():
            folder = self._folder(run.run_id)
            await _wait_until_free(folder / "lock", _PATIENCE)
            # A power cut may have taken the stages of a run, never its commit.
            if run.status == RunStatus.CREATED and _publish.committed(folder) is None:
                self._queue.put_nowait(run.run_id)
            else:
                await self._settle(run, "the server stopped while the run was active")
        await asyncio.to_thread(shutil.rmtree, self._roots.state / "runs", ignore_errors=True)
        self._lanes = [asyncio.create_task(self._lane()) for _ in range(self._max_active)]

    async def close(self) -> None:
        """Interrupt what runs. Runs that still wait stay CREATED: the next server takes them up."""
        self._closing = True
        while not self._queue.empty():
            self._queue.get_nowait()
        for _ in self._lanes:
            self._queue.put_nowait(None)
        for worker in tuple(self._workers.values()):
            await worker.cancel()
        if self._lanes:
            _, late = await asyncio.wait(self._lanes, timeout=_PATIENCE)
            for lane in late:
                lane.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _lane(self) -> None:
        """Carry out one run after the other."""
        while (run_id := await self._queue.get()) is not None:
            try:
                await self._carry_out(run_id)
            except Exception as error:
                _log.exception("run %s met an error of the server itself", run_id)
                await self._end(run_id, RunStatus.CRASHED, message=f"the server met an error: {error!r}")

    # -- one run

    async def _carry_out(self, run_id: str) -> None:
        await self._store.settled()  # a run that a power cut takes back must not have written anything
        try:
            job = await self._job(self._store.require(run_id))
        except PathRefused as error:
            await self._end(run_id, RunStatus.FAILED, message=str(error))
            return
        try:
            # A spare worker may have died unseen: a run that has not begun may have a new one.
            if not await self._attempt(run_id, job, last=False):
                await self._attempt(run_id, job, last=True)
        except WorkerDied as error:
            await self._end(run_id, RunStatus.CRASHED, message=f"{error}; {_NOTHING_WRITTEN}")
        finally:
            self._cancelled.discard(run_id)

    async def _attempt(self, run_id: str, job: Execute, *, last: bool) -> bool:
        """Carry a run out in one worker. False where the worker died before the run had begun."""
        worker = await self._pool.take(new=last)
        try:
            if self._store.require(run_id).status != RunStatus.CREATED or self._closing:
                return True  # cancelled meanwhile, or left to the next server
            self._workers[run_id] = worker
            outcome = await self._follow(worker, run_id, job)
            if outcome is None and not last and self._store.require(run_id).status == RunStatus.CREATED:
                return False
            await self._conclude(worker, run_id, outcome)
            return True
        finally:
            self._workers.pop(run_id, None)
            await self._pool.release(worker)

    async def _job(self, run: Run) -> Execute:
        source = self._source(run)
        mapped, rejects = self._targets(run, source)
        if source in (mapped, rejects):
            raise PathRefused(f"the target {str(source)!r} is the source itself: choose another place")
        return Execute(
            run_id=run.run_id,
            flow=await self._flows.compiled(run.flow_version),
            source=str(source),
            looked_up=self._roots.looked_up(self._spelled(run)),
            folder=str(self._folder(run.run_id)),
            mapped=str(mapped),
            rejects=str(rejects),
            memory_limit=MEMORY_LIMIT,
            threads=THREADS,
        )

    def _source(self, run: Run) -> Path:
        return self._roots.source(self._spelled(run))

    def _spelled(self, run: Run) -> str:
        return spelled(self._flows.parsed(run.flow_version).source.uri, run.source_path)

    def _targets(self, run: Run, source: Path) -> tuple[Path, Path]:
        flow = self._flows.parsed(run.flow_version)
        values = {
            "data": str(self._roots.data),
            "flow": flow.name,
            "version": flow.version,
            "run_id": run.run_id,
            "source_path": self._roots.relative(source),
        }
        return self._roots.target(flow.mapped, values), self._roots.target(flow.rejects, values)

    def _folder(self, run_id: str) -> Path:
        return self._roots.state / "runs" / run_id

    async def _follow(self, worker: Worker, run_id: str, job: Execute) -> Outcome | None:
        """Note stages and progress; how the run ended, or None where the process just died."""
        async for event in worker.run(job):
            match event:
                case Stage(name, rows, progress):
                    self._enter(run_id, name, rows)
                    self._progress[run_id] = progress
                case Progress(value):
                    self._progress[run_id] = value
                case Done() | Failed() | Cancelled():
                    return event
        return None

    def _enter(self, run_id: str, stage: str, rows: int | None) -> None:
        run, now = self._store.require(run_id), now_text()
        stages = _closed(run.stages, now, rows)
        stages.append({"name": stage, "started_at": now, "finished_at": None, "rows": None})
        values: dict[str, Any] = {"stages": stages}
        if run.started_at is None:
            values["started_at"] = now
        self._store.update(run_id, stage, **values)
        self._hub.notify(run_id)

    async def _conclude(self, worker: Worker, run_id: str, outcome: Outcome | None) -> None:
        run = self._store.require(run_id)
        if outcome is None:
            await self._settle(run, await worker.death())
            return
        if isinstance(outcome, Done):
            await self._succeed(run_id, outcome.record)
            await asyncio.to_thread(self._clean_up, run, published=True)
            return
        await asyncio.to_thread(self._clean_up, run, published=False)
        if isinstance(outcome, Failed):
            await self._end(run_id, RunStatus.FAILED, message=outcome.message, metrics=outcome.metrics)
        elif run_id in self._cancelled:
            await self._end(run_id, RunStatus.CANCELLED, message="cancelled by request; nothing was written")
        else:
            await self._end(run_id, RunStatus.CRASHED, message=f"the server was stopped; {_NOTHING_WRITTEN}")

    def _clean_up(self, run: Run, *, published: bool) -> None:
        """Remove the run's folder, and drafts beside its targets if it didn't publish them.

        After a commit this comes last, since the folder proves the commit; else first, so that a run that
        has ended without output has left nothing behind.
        """
        shutil.rmtree(self._folder(run.run_id), ignore_errors=True)
        if published:
            return
        try:
            targets = self._targets(run, self._source(run))
        except PathRefused:
            return
        for target in targets:
            with suppress(OSError):  # no such folder, or no folder at all: then there is no draft either
                _publish.draft_of(target, run.run_id).unlink(missing_ok=True)

    async def _settle(self, run: Run, death: str) -> None:
        """End a run whose process is gone: carry its commit out if there is one, else nothing has happened."""
        record = _publish.committed(self._folder(run.run_id))
        if record is None:
            self._clean_up(run, published=False)
            await self._end(run.run_id, RunStatus.CRASHED, message=f"{death}; {_NOTHING_WRITTEN}")
        else:
            try:
                await asyncio.to_thread(_publish.publish, record)
            except OSError as error:
                message = (
                    f"{death}; its output is complete but can't be put in place: {_publish.explain(error)}"
                )
                await self._end(run.run_id, RunStatus.CRASHED, message=message)
            else:
                await self._succeed(run.run_id, record)
            self._clean_up(run, published=True)

    async def _succeed(self, run_id: str, record: Json) -> None:
        await self._end(
            run_id,
            RunStatus(record["status"]),
            metrics=record["metrics"],
            locations=record["target_locations"],
        )

    async def _end(
        self,
        run_id: str,
        status: RunStatus,
        *,
        message: str | None = None,
        metrics: dict[str, Any] | None = None,
        locations: dict[str, Any] | None = None,
    ) -> Run:
        """The last change of a run. A run that has ended already stays as it is."""
        run, now = self._store.require(run_id), now_text()
        if RunStatus(run.status).is_terminal:
            return run
        written = metrics["rows_read"] if metrics and locations else None
        ended = self._store.update(
            run_id,
            status.value,
            event=event_body(run, status.value, now),
            finished_at=now,
            stages=_closed(run.stages, now, written),
            error_message=message,
            metrics=metrics or {},
            target_locations=locations or {},
        )
        await self._store.settled()
        self._progress.pop(run_id, None)
        self._hub.notify(run_id)
        self._on_end()
        return ended


def _closed(stages: list[dict[str, Any]], now: str, rows: int | None) -> list[dict[str, Any]]:
    """The stages with the last one ended now, after so many rows."""
    if not stages:
        return []
    return [*stages[:-1], {**stages[-1], "finished_at": now, "rows": rows}]


async def _wait_until_free(path: Path, seconds: float) -> None:
    """Wait until nobody holds the lock any more; give up after `seconds`, or where there is no such file."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        try:
            with held(path, make=False):
                return
        except FileNotFoundError:
            return
        except Locked:
            await asyncio.sleep(0.02)
