"""Runs that have committed, but whose output can't be put in place yet: a database or object store is unreachable.

They are neither repeated nor abandoned: their commit is carried out as soon as possible. Until then they are
unfinished, so that no other run processes their source.
"""

import logging

import anyio
from anyio.to_thread import run_sync
from attrs import frozen

from lume_async.models import RunStatus
from lume_local._runs.health import Health, why
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.records import StoredRun
from lume_local._runs.recovery.settle import Trouble, carried_out
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.upkeep import retry_rounds
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.commit import committed, committed_ago

_log = logging.getLogger("lume_local")

FIRST, LONGEST = 2.0, 300.0
"""Seconds between two rounds, see `retry_rounds`."""
PATIENCE = 86400.0
"""Seconds after the commit from which on a run is ended without its output."""
_WHERE = "putting the output of runs in place"


@frozen
class _Waiting:
    run: StoredRun
    since: float


class Late:
    """Carries out their commits, one after the other.

    Args:
        recorder: where their ends go.
        paths: where their folders are.
        pool: whose workers carry the commits out.
        health: where it is reported that runs wait.
    """

    def __init__(self, recorder: RunRecorder, paths: RunPaths, pool: WorkerPool, health: Health) -> None:
        self._recorder, self._paths, self._pool, self._health = recorder, paths, pool, health
        self._waiting: dict[str, _Waiting] = {}
        self._more = anyio.Event()

    @property
    def run_ids(self) -> set[str]:
        """The waiting runs: only this class changes them."""
        return set(self._waiting)

    def add(self, run: StoredRun, trouble: str) -> None:
        """Add a run that has committed; `trouble` says why its output is not in place."""
        _log.warning(
            "run %s has committed, and its output can't be put in place yet: %s", run.run_id, trouble
        )
        since = anyio.current_time() - committed_ago(self._paths.folder(run.run_id))
        self._waiting.setdefault(run.run_id, _Waiting(run, since))
        self._more.set()
        self._more = anyio.Event()

    async def carry_out(self) -> None:
        """Retry until cancelled."""
        await retry_rounds(self._round, _WHERE, self._health, FIRST, LONGEST)

    async def _round(self) -> tuple[int, str]:
        """Try each once; how many still wait, and for what."""
        if not self._waiting:
            await self._more.wait()
            await anyio.sleep(FIRST)
        # In the order of submission: of several outputs for one place the newest remains, as without a failure.
        waiting = sorted(self._waiting.values(), key=lambda one: one.run.seq)
        troubles = [trouble for one in waiting if (trouble := await self._try(one))]
        return len(troubles), troubles[0] if troubles else ""

    async def _try(self, one: _Waiting) -> str:
        """What is still in the way; empty once the run has ended."""
        try:
            trouble = await self._end(one)
        except Exception as error:
            _log.exception("run %s: internal error of the server", one.run.run_id)
            return why(error)
        if not trouble:
            del self._waiting[one.run.run_id]
        return trouble

    async def _end(self, one: _Waiting) -> str:
        run_id = one.run.run_id
        record = committed(self._paths.folder(run_id))
        assert record is not None, "only this class removes it"
        trouble: Trouble | None = await carried_out(one.run, record, self._recorder, self._paths, self._pool)
        if trouble is None:
            await self._recorder.succeed(run_id, record)
            await run_sync(self._paths.clean_up, one.run)
            return ""
        if trouble.may_pass and anyio.current_time() < one.since + PATIENCE:
            return trouble.text
        await self._recorder.end(run_id, RunStatus.CRASHED, message=trouble.end)
        await run_sync(self._paths.give_up, one.run)
        return ""
