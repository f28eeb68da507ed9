"""One run in one worker process: its events, its time limit, and its end.

On a cancel, at the time limit, or if the worker is stopped or stuck, the worker is asked to stop and then killed, so
that every run ends and its lane continues.
"""

import enum
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from math import inf
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from lume_async._base.tasks import task_group
from lume_async.models import RunStatus
from lume_local._runs.recorder import RETRY, RunRecorder
from lume_local._runs.recovery.late import Late
from lume_local._runs.recovery.settle import NOTHING_WRITTEN, Settler
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.store.audit import CANCEL, Act
from lume_local._runs.store.records import StoredRun, StoreFailed
from lume_local._runs.workers.worker import SILENCE, Worker
from lume_local._shared.commit import begun, committed
from lume_local._shared.protocol import (
    AsksToCommit,
    Cancelled,
    Done,
    Execute,
    Failed,
    Outcome,
    Progressed,
    StageBegun,
)

_log = logging.getLogger("lume_local")

Found = TypeVar("Found")

KILL_AFTER = 5.0
"""Seconds between asking a worker to stop and killing it."""


class Stop(enum.Enum):
    """The reason for stopping a run: its new status, and the message."""

    REQUESTED = RunStatus.CANCELLED, "cancelled by request; nothing was written"
    OVERDUE = RunStatus.FAILED, "the run took longer than its time limit of {limit:g} s; nothing was written"
    SILENT = RunStatus.CRASHED, f"the worker process did not respond for {{silence:g}} s; {NOTHING_WRITTEN}"
    SHUTDOWN = RunStatus.CRASHED, f"the server was stopped; {NOTHING_WRITTEN}"
    DEFERRED = RunStatus.CREATED, ""  # begins anew with the next server
    UNASKED = RunStatus.CRASHED, f"DuckDB was interrupted; {NOTHING_WRITTEN}"


class Execution:
    """The execution of one run. Call `carry_out` once, `stop` at any time.

    Args:
        may_wait: whether the run goes back to CREATED if a temporary obstacle, such as an unreachable place, stops
            it; see `obstacle`.
    """

    def __init__(
        self,
        run: StoredRun,
        recorder: RunRecorder,
        paths: RunPaths,
        settler: Settler,
        late: Late,
        time_limit: float | None,
        *,
        may_wait: bool = False,
    ) -> None:
        self.run, self._recorder, self._paths = run, recorder, paths
        self._settler, self._late = settler, late
        self._time_limit, self._may_wait = time_limit, may_wait
        self._why: Stop | None = None
        self._by = ""
        self._stopped, self._work = anyio.Event(), anyio.CancelScope()
        self._heard = 0.0
        self._has_begun = False
        self.worker: Worker | None = None
        self.obstacle = ""
        """Why the run is CREATED again and can't be executed at once; empty otherwise."""

    @property
    def is_stopped(self) -> bool:
        return self._why is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has requested the end of the run."""
        return self._why is Stop.REQUESTED

    def stop(self, why: Stop, by: str = "") -> None:
        """End the run without output, unless it has committed. The first reason is the one reported.

        Args:
            by: the name of the requesting key.
        """
        if self._why is None:
            self._why, self._by = why, by
            self._stopped.set()
            self._work.cancel()

    async def unless_stopped(self, work: Callable[[], Awaitable[Found]]) -> Found | None:
        """Return the result of `work`, such as finding the files of a pattern; None if the run is stopped first."""
        if self.is_stopped:
            return None
        found = None
        with self._work:
            found = await work()
        return None if self.is_stopped else found

    async def carry_out(self, worker: Worker, job: Execute, *, last: bool) -> bool:
        """Execute the run in a worker. Returns False if the worker died before the run began, unless `last`."""
        self.worker = worker
        job = await self._paths.hold_uploads(job)
        self._heard = anyio.current_time()
        async with task_group() as tasks:
            tasks.start_soon(self._guard, worker)
            outcome = await self._follow(worker, job)
            tasks.cancel_scope.cancel()
        if outcome is None and not (last or self._has_begun or self.is_stopped):
            return False
        await self._conclude(worker, outcome)
        return True

    async def abandon(self) -> None:
        """End a run that was stopped before it had a worker."""
        assert self._why is not None
        await run_sync(self._paths.give_up, self.run)  # an earlier worker may have died before the run began
        await self._end_stopped(self._why)

    async def _follow(self, worker: Worker, job: Execute) -> Outcome | None:
        """Return the outcome of the run; None if the process died without a report."""
        run_id = self.run.run_id
        async with aclosing(worker.run(job)) as events:
            async for event in events:
                self._has_begun = True
                self._heard = anyio.current_time()
                match event:
                    case StageBegun(name, rows, progress):
                        await self._recorder.enter(run_id, name, rows)
                        self._recorder.progress[run_id] = progress
                    case Progressed(value):
                        self._recorder.progress[run_id] = value
                    case AsksToCommit():
                        await worker.permit(await self._may_commit())
                    case Done() | Failed() | Cancelled():
                        return event
        return None

    async def _may_commit(self) -> bool:
        """Return whether the run may be published; waits until the state is available, and the worker waits, too."""
        while not self.is_stopped:
            self._heard = anyio.current_time()
            with suppress(StoreFailed):
                return await self._recorder.may_publish(self.run.run_id)
            await anyio.sleep(RETRY)
        return False

    async def _guard(self, worker: Worker) -> None:
        """Wait for a reason to stop the run, ask its worker to stop, then kill it."""
        limit = inf if self._time_limit is None else anyio.current_time() + self._time_limit
        while self._why is None:
            with anyio.CancelScope(deadline=min(limit, self._heard + SILENCE)):
                await self._stopped.wait()
            now = anyio.current_time()
            if now >= limit:
                self.stop(Stop.OVERDUE)
            elif now >= self._heard + SILENCE:
                self.stop(Stop.SILENT)
        if self._why is not Stop.SILENT:
            await worker.cancel()
            await anyio.sleep(KILL_AFTER)
        # A worker that has committed is putting its files in place: a process that sends no signal.
        folder = self._paths.folder(self.run.run_id)
        while anyio.current_time() < self._heard + SILENCE and committed(folder) is not None:  # noqa: ASYNC110
            await anyio.sleep(KILL_AFTER)
        worker.kill()

    async def _conclude(self, worker: Worker, outcome: Outcome | None) -> None:
        """Record the end of the run, by the worker's last event; None if it died without one."""
        run, recorder = self.run, self._recorder
        await recorder.still_ours()
        match outcome:
            case None:
                death = await worker.death()
                await run_sync(self._paths.forget_worker, run, worker.pid)
                if self._why is None or committed(self._paths.folder(run.run_id)) is not None:
                    await self._late.settle(run, death)
                else:
                    await self._settler.undo(run)
                    await self._end_stopped(self._why)
            case Done(record):
                if (shards := record["metrics"].get("shards")) is not None:
                    _log.info(
                        "run %s: %d shards, by the engine %s", run.run_id, shards["count"], shards["engine"]
                    )
                    for file, reason in shards["whole"].items():
                        _log.info("run %s: %s is not split: %s", run.run_id, file, reason)
                await recorder.succeed(run.run_id, record)
                await run_sync(self._paths.clean_up, run)
            case Failed(message, _, True) if committed(self._paths.folder(run.run_id)) is not None:
                self._late.add(run, message)
            case Failed(message, _, True) if self._may_wait and not begun(self._paths.folder(run.run_id)):
                # Nobody resubmits an arrived file. Steps begun elsewhere are left to `Leftovers`.
                self.obstacle = message
                await run_sync(self._paths.clean_up, run)
                await recorder.defer(run.run_id)
            case Failed(message, metrics, may_pass, told):
                await run_sync(self._paths.give_up, run)
                # Neither the file nor the flow is at fault: another run of the file may succeed.
                status = RunStatus.CRASHED if may_pass and self._may_wait else RunStatus.FAILED
                await recorder.end(run.run_id, status, message=message, told=told, metrics=metrics)
            case Cancelled():
                await run_sync(self._paths.clean_up, run)
                await self._end_stopped(self._why or Stop.UNASKED)

    async def _end_stopped(self, why: Stop) -> None:
        if why is Stop.DEFERRED:
            return await self._recorder.defer(self.run.run_id)
        status, words = why.value
        message = words.format(limit=self._time_limit, silence=SILENCE)
        act = Act(self._by, CANCEL, self.run.run_id) if why is Stop.REQUESTED else None
        await self._recorder.end(self.run.run_id, status, message=message, told=message, act=act)
