"""Runs that have committed and whose output can't be put in place yet: a database or an object store is away.

They are neither done again nor given up: their commit is carried out as soon as that can be done. Until then they are
unfinished, so that nobody else processes their source.
"""

import logging

import anyio
from anyio.to_thread import run_sync
from attrs import frozen

from lume_async.models import RunStatus
from lume_local._runs.health import Health, why
from lume_local._runs.recorder import Recorder
from lume_local._runs.records import Run
from lume_local._runs.recovery.recovery import Trouble, carried_out
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.workers.worker_pool import Pool
from lume_local._shared.commit import committed, committed_ago

_log = logging.getLogger("lume_local")

FIRST, LONGEST = 2.0, 300.0
"""Seconds between two rounds: they double as long as something can't be put in place."""
PATIENCE = 86400.0
"""Seconds after which a run is ended all the same."""
_WHERE = "putting the output of runs in place"


@frozen
class _Waiting:
    run: Run
    since: float


class Late:
    """Carries them out one after the other.

    Args:
        recorder: where their ends go.
        paths: where their folders are.
        pool: whose workers carry the commits out.
        health: where it is reported that there are some.
    """

    def __init__(self, recorder: Recorder, paths: RunPaths, pool: Pool, health: Health) -> None:
        self._recorder, self._paths, self._pool, self._health = recorder, paths, pool, health
        self._waiting: dict[str, _Waiting] = {}
        self._more = anyio.Event()

    @property
    def run_ids(self) -> set[str]:
        """The runs that wait: nobody else changes those."""
        return set(self._waiting)

    def add(self, run: Run, trouble: str) -> None:
        """A run that has committed; `trouble` is in its way."""
        _log.warning(
            "run %s has committed, and its output can't be put in place yet: %s", run.run_id, trouble
        )
        since = anyio.current_time() - committed_ago(self._paths.folder(run.run_id))
        self._waiting.setdefault(run.run_id, _Waiting(run, since))
        self._more.set()
        self._more = anyio.Event()

    async def carry_out(self) -> None:
        """Try again and again until cancelled."""
        pause = FIRST
        while True:
            more = self._more
            if not self._waiting:
                pause = FIRST
                await more.wait()
            await anyio.sleep(pause)
            # In the order of their submission: what is late for the same place ends as if nothing had been.
            waiting = sorted(self._waiting.values(), key=lambda one: one.run.seq)
            troubles = [trouble for one in waiting if (trouble := await self._tried(one))]
            if troubles:
                self._health.waits(_WHERE, len(troubles), troubles[0])
                pause = min(2 * pause, LONGEST)
            else:
                self._health.works(_WHERE)

    async def _tried(self, one: _Waiting) -> str:
        """What is still in the way; empty where the run has ended."""
        try:
            trouble = await self._ended(one)
        except Exception as error:
            _log.exception("run %s met an error of the server itself", one.run.run_id)
            return why(error)
        if not trouble:
            del self._waiting[one.run.run_id]
        return trouble

    async def _ended(self, one: _Waiting) -> str:
        run_id = one.run.run_id
        record = committed(self._paths.folder(run_id))
        assert record is not None, "nobody else removes it"
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
