"""Executes runs from CREATED to their end, each in a worker process, at most `max_active` at a time.

The queue is the store itself: a fixed number of lanes each take the oldest waiting run, one after the other.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from lume_async._base.platform import is_locked
from lume_async._base.tasks import task_group
from lume_async.models import RunStatus
from lume_local._runs.execution import Execution, Stop
from lume_local._runs.health import Health, why
from lume_local._runs.recorder import RETRY, RunRecorder
from lume_local._runs.recovery.late import HeldRuns, Late, Rested
from lume_local._runs.recovery.settle import NOTHING_WRITTEN, Settler
from lume_local._runs.sources.paths import PathRefused
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.audit import CANCEL, Act
from lume_local._runs.store.ledger import Claim
from lume_local._runs.store.records import NewRun, StoredRun
from lume_local._runs.unusual import has_rejects
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.commit import committed

_log = logging.getLogger("lume_local")

RECOVERY_PATIENCE = 5.0
"""Seconds that a starting server waits for the recovery of an earlier server's runs."""
_STOPPED = "the server stopped while the run was active"
_UNKNOWN = (
    "its folder is not in this data folder, so it may have written: look at its target before it is repeated"
)
_PATIENCE = 10.0
"""Seconds for active runs to end when the server ends; their workers are killed before that."""


class Runner:
    """Executes runs while its `running` block lasts; used from one event loop.

    Args:
        at_limit: given each key's number of active runs, returns the keys at their limit.
        drain: seconds for active runs to end when the server ends; unfinished ones are restarted later.
    """

    def __init__(
        self,
        store: SqlStore,
        recorder: RunRecorder,
        paths: RunPaths,
        pool: WorkerPool,
        settler: Settler,
        late: Late,
        health: Health,
        max_active: int,
        time_limit: float | None = None,
        at_limit: Callable[[Mapping[str | None, int]], Collection[str]] = lambda active: (),
        drain: float = 0.0,
    ) -> None:
        self._store, self._recorder, self._paths, self._pool = store, recorder, paths, pool
        self._settler, self._late, self._health = settler, late, health
        self._max_active = max_active
        self._time_limit = time_limit
        self._at_limit, self._drain = at_limit, drain
        self._active: dict[str, Execution] = {}
        """The runs that a lane executes, or that are cancelled while they wait: only their owner changes them."""
        self._roots: dict[str, frozenset[str]] = {}
        """`RunPaths.roots` of runs that a lane has examined."""
        self._left: set[str] = set()
        self._ends = 0
        """How many claims have ended."""
        self._held, self._rested = HeldRuns(paths, health), Rested(health)
        self._more = anyio.Event()
        self._closing = False
        self._none_active = anyio.Event()
        self._recovered = anyio.Event()
        self._tasks: TaskGroup

    # -- for requests

    async def submit(self, new: NewRun, claims: Sequence[Claim] = ()) -> tuple[StoredRun, bool]:
        """Create a run or find the idempotency key's run; return whether it is new. Raises like `SqlStore.create`."""
        try:
            run, is_new = await self._store.create(new, claims)
        except anyio.get_cancelled_exc_class():
            self._created()  # possibly: the request is cancelled, but the run may exist
            raise
        if is_new:
            self._created()
            if new.traceparent is not None:
                _log.info("run %s was submitted with traceparent %s", run.run_id, new.traceparent)
        return run, is_new

    def _created(self) -> None:
        self.wake_lanes()
        self._recorder.created()

    def progress(self, run_id: str) -> float | None:
        """Return the progress of an active run, 0 to 1; None if unknown."""
        return self._recorder.progress.get(run_id)

    async def cancel(self, run_id: str, by: str) -> StoredRun:
        """Stop a run. A waiting run is cancelled immediately; one that has committed keeps running.

        Args:
            by: the name of the requesting key.
        """
        run = await self._store.require(run_id)
        execution = self._active.get(run_id)
        if execution is not None:
            execution.stop(Stop.REQUESTED, by)
        elif run_id in self._held.run_ids:
            pass  # an earlier server's worker, out of reach of this one, may execute it
        elif run.status == RunStatus.CREATED and committed(self._paths.folder(run_id)) is None:
            self._claim(run)
            ended = anyio.Event()
            # Not in the task of the request: its client may disconnect at any time.
            self._tasks.start_soon(self._end_waiting, run_id, by, ended)
            await ended.wait()
        return await self._store.require(run_id)

    async def _end_waiting(self, run_id: str, by: str, ended: anyio.Event) -> None:
        """Cancel a waiting run. One that has ended since it was claimed stays unchanged."""
        try:
            message, act = "cancelled before it began", Act(by, CANCEL, run_id)
            await self._recorder.end(run_id, RunStatus.CANCELLED, message=message, act=act)
            self._rested.remove(run_id)
        except Exception as error:
            await self._crash(run_id, error)
        finally:
            self._release(run_id)
            self.wake_lanes()  # it counted as an active run of its key
            ended.set()

    def workers(self) -> dict[str, int]:
        return {
            run_id: execution.worker.pid
            for run_id, execution in self._active.items()
            if execution.worker is not None
        }

    # -- life cycle of the runner

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Recover the runs of an earlier server, then execute runs until the block ends.

        At the end active runs are stopped: they are CRASHED, or CREATED again if they were given time (`drain`).
        Waiting runs stay CREATED; the next server executes them.
        """
        async with task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._work, tasks)
            # A longer recovery (the disk may be full) must not prevent the server from starting and reporting it.
            with anyio.move_on_after(RECOVERY_PATIENCE):
                await self._recovered.wait()
            try:
                yield
            finally:
                self._closing = True
                self._held.close()
                self.wake_lanes()
                for execution in self._active.values():
                    execution.stop(Stop.SHUTDOWN if not self._drain else Stop.DEFERRED)
                patience = _PATIENCE if self._recovered.is_set() else 0  # the next server recovers the rest
                tasks.cancel_scope.deadline = anyio.current_time() + patience

    async def _work(self, tasks: TaskGroup) -> None:
        # Runs whose folder a process holds are recovered later.
        publishing, held = self._store.publishing, list[StoredRun]()
        for run in await self._store.unfinished():
            is_held = is_locked(self._paths.folder(run.run_id) / "lock")
            # A run that has not begun will be executed in this folder, so it must be free.
            if is_held and publishing.is_shared and run.status != RunStatus.CREATED:
                # The process may be of a server that has lost the state: then it can't commit any more.
                is_held = await publishing.is_allowed(run.run_id)
            if is_held:
                held.append(run)
                self._held.add(run)
            else:
                await self._recover_run(run)
        unended = {*self._late.run_ids, *self._left, *self._held.run_ids}
        await run_sync(partial(self._paths.clear, unended, has_workers=bool(held)))
        for _ in range(self._max_active):
            tasks.start_soon(self._lane)
        for run in held:
            tasks.start_soon(self._recover_later, run)
        await self._held.until_known()
        self._recovered.set()

    async def _recover_later(self, run: StoredRun) -> None:
        try:
            if await self._held.wait(run):
                await self._recover_run(await self._store.require(run.run_id))
        except Exception as error:
            await self._crash(run.run_id, error)
        finally:
            self._held.remove(run)
            self.wake_lanes()

    async def _recover_run(self, run: StoredRun) -> None:
        try:
            # A power cut may have lost the stages of a run, never its commit.
            if run.status != RunStatus.CREATED or committed(self._paths.folder(run.run_id)) is not None:
                # A server with another data folder may have had a run whose folder is missing here.
                is_here = self._paths.folder(run.run_id).exists()
                await self._late.settle(run, _STOPPED, NOTHING_WRITTEN if is_here else _UNKNOWN)
        except Exception as error:
            await self._crash(run.run_id, error)

    @property
    def is_ending(self) -> bool:
        """Whether the start of further runs has stopped."""
        return self._closing

    async def drain(self) -> None:
        """Stop starting runs, and wait up to the limit for active ones to end."""
        if not self._drain:
            return
        self._closing = True
        self.wake_lanes()
        if self._active:
            _log.warning("ending: waiting up to %g s for %d active runs", self._drain, len(self._active))
        with anyio.CancelScope(deadline=anyio.current_time() + self._drain, shield=True):
            while self._active:
                self._none_active = anyio.Event()
                await self._none_active.wait()

    def wake_lanes(self) -> None:
        """Make idle lanes check for a run that is new or may begin now."""
        self._more.set()
        self._more = anyio.Event()

    async def _lane(self) -> None:
        """Execute one run after the other. No error of a run or of the store ends a lane."""
        while not self._closing:
            more = self._more
            try:
                run = await self._claimed()
                self._health.works("the queue")
            except Exception as error:
                self._health.trouble("the queue", why(error))
                with anyio.move_on_after(RETRY):
                    await more.wait()
                continue
            if run is None:
                with anyio.move_on_after(self._rested.pause):
                    await more.wait()
            else:
                await self._do(run)

    async def _next(self) -> StoredRun | None:
        """Return the next waiting run that is unclaimed, not left for later, and not waiting for its turn."""
        taken = {
            *self._active,
            *self._left,
            *self._late.run_ids,
            *self._held.run_ids,
            *self._rested.run_ids,
        }
        active = Counter(execution.run.submitted_by for execution in self._active.values())
        resting = self._rested.arrivals(execution.run for execution in self._active.values())
        while True:
            run = await self._store.next_waiting(taken, self._at_limit(active), resting)
            if run is None or not (roots := await self._roots_of(run)):
                return run
            before = [await self._roots_of(one) for one in await self._store.begun(taken)]
            # A run whose end is recorded has not begun for the store, and is active until its lane releases it.
            before += [self._roots.get(one, frozenset()) for one in self._active]
            if roots.isdisjoint(chain.from_iterable(before)):
                return run
            taken.add(run.run_id)  # makes later runs on the same rows wait, too

    async def _roots_of(self, run: StoredRun) -> frozenset[str]:
        if run.run_id not in self._roots and has_rejects(run.run_metadata):
            self._roots[run.run_id] = await self._paths.roots(run)
        return self._roots.get(run.run_id, frozenset())

    async def _claimed(self) -> StoredRun | None:
        """Claim the next waiting run for a lane; return None if there is none."""
        while True:
            ends = self._ends
            run = await self._next()
            if run is None:
                return None
            active = chain.from_iterable(self._roots.get(one, ()) for one in self._active)
            if run.run_id in self._active or not self._roots.get(run.run_id, frozenset()).isdisjoint(active):
                continue  # it, or a run that it takes turns with, was claimed or cancelled during the query
            execution = self._claim(run)
            try:
                # A run whose creation a power cut may undo must not write anything.
                await self._store.settled()
                if self._ends != ends:  # it may have been cancelled during the query
                    run = await self._store.require(run.run_id)
            except Exception:
                if execution.is_stopped:
                    return run  # a cancel waits for it: the lane ends it without output
                self._release(run.run_id)
                raise
            if run.status == RunStatus.CREATED:
                self._recorder.claimed(run)
                return run
            self._release(run.run_id)  # it had ended before it was claimed

    def _leaves(self, execution: Execution) -> bool:
        """Return whether a run without a worker is left to the next server; a cancelled run is not."""
        return self._closing and not execution.is_cancelled

    def _claim(self, run: StoredRun) -> Execution:
        execution = Execution(
            run,
            self._recorder,
            self._paths,
            self._settler,
            self._late,
            self._time_limit,
            may_wait=self._rested.may_add(run),
        )
        self._active[run.run_id] = execution
        return execution

    async def _do(self, run: StoredRun) -> None:
        execution = self._active[run.run_id]
        try:
            await self._carry_out(run, execution)
            if execution.obstacle and not execution.is_cancelled:
                return self._rested.add(run, execution.obstacle)
            if execution.obstacle:
                await execution.abandon()  # it was cancelled meanwhile
            elif self._rested.is_back(run.arrival):
                self.wake_lanes()
            self._rested.remove(run.run_id)
        except Exception as error:
            await self._crash(run.run_id, error)
        finally:
            self._release(run.run_id)

    def _release(self, run_id: str) -> None:
        del self._active[run_id]
        self._ends += 1
        if self._roots.pop(run_id, None):
            self.wake_lanes()  # others may wait for their turn
        if not self._active:
            self._none_active.set()

    async def _crash(self, run_id: str, error: Exception) -> None:
        """End a run after an internal error. If even that fails, only this run is affected."""
        _log.error("run %s: internal error of the server", run_id, exc_info=error)
        try:
            message = f"the server met an error: {why(error)}"
            await self._recorder.end(run_id, RunStatus.CRASHED, message=message)
        except Exception:
            self._left.add(run_id)
            _log.exception("run %s: its end can't be recorded; the next start of the server does it", run_id)

    async def _carry_out(self, run: StoredRun, execution: Execution) -> None:
        """Execute a run in a worker, and record its end."""
        try:
            job = await execution.unless_stopped(lambda: self._paths.job(run))
            if job is None:
                return None if self._leaves(execution) else await execution.abandon()
            # A spare worker may have died unnoticed: a run that has not begun is retried in a new one.
            for last in (False, True):
                async with self._pool.worker(new=last) as worker:
                    if self._leaves(execution):
                        return
                    if execution.is_stopped:
                        return await execution.abandon()
                    if await execution.carry_out(worker, job, last=last):
                        return
        except PathRefused as error:
            await self._recorder.end(run.run_id, RunStatus.FAILED, message=str(error), told=str(error))
        except WorkerDied as error:
            message = f"{error}; {NOTHING_WRITTEN}"
            await run_sync(self._paths.give_up, run)
            await self._recorder.end(run.run_id, RunStatus.CRASHED, message=message)
