"""Ends runs whose process has ended: a commit is carried out; without one, all the run began is undone."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from attrs import frozen

from lume_async.models import RunStatus
from lume_local._runs.health import why
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.records import StoredRun, StoreFailed
from lume_local._runs.recovery.overtaken import look
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.workers.worker import NotFinished, WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.commit import (
    FILE,
    begun,
    committed,
    explain,
    forget_begun,
    overtaken,
    put_in_place,
    remove_draft,
)
from lume_local._shared.lock import holder, is_held
from lume_local._shared.protocol import Json

_log = logging.getLogger("lume_local")

_PATIENCE = 5.0
"""Seconds for a worker to exit after its server has ended."""
_SURPRISE = 0.5
"""Seconds after which a holder is reported; the lock of a dead process may last that long."""
_LOOK = 0.5
"""Seconds between two checks of a folder that is held for longer."""


@frozen
class Trouble:
    """Why an output is not in place; `may_pass` if a retry may work, `is_final` if it never will."""

    text: str
    may_pass: bool = False
    is_final: bool = False

    @property
    def end(self) -> str:
        """The error message of a run that ends because of it."""
        if self.is_final:
            return (
                f"its output is not put in place: {self.text}. Submit the run again if its rows are to count"
            )
        return f"its output can't be put in place: {self.text}. Submit the run again"


async def settle(run: StoredRun, death: str, recorder: RunRecorder, paths: RunPaths, pool: WorkerPool) -> str:
    """End a run whose process has ended; `death` says how.

    Returns why a committed run can't be ended yet (see `late`); else an empty string.
    """
    record = committed(paths.folder(run.run_id))
    if record is None:
        await undo(run, paths, pool)
        message = f"{death}; nothing was written: submit the run again"
        await recorder.end(run.run_id, RunStatus.CRASHED, message=message)
        return ""
    trouble = await carried_out(run, record, recorder, paths, pool)
    if trouble is not None and trouble.may_pass:
        return trouble.text
    if trouble is not None:
        await recorder.end(run.run_id, RunStatus.CRASHED, message=f"{death}; {trouble.end}")
        await run_sync(paths.give_up, run)
    else:
        await recorder.succeed(run.run_id, record)
        await run_sync(paths.clean_up, run)
    return ""


async def undo(run: StoredRun, paths: RunPaths, pool: WorkerPool) -> None:
    """Undo everything that a run without a commit has begun, in its folder and elsewhere."""
    folder = paths.folder(run.run_id)
    if trouble := await finished(folder, begun(folder), pool):
        _log.warning("run %s: what it began can't be undone yet: %s", run.run_id, trouble.text)
    await run_sync(paths.give_up, run)


async def carried_out(
    run: StoredRun, record: Json, recorder: RunRecorder, paths: RunPaths, pool: WorkerPool
) -> Trouble | None:
    """Put the committed output of a run in place, unless a later run has replaced it; returns what prevents that."""
    folder = paths.folder(run.run_id)
    try:
        await look(run, record, folder, recorder)
    except (StoreFailed, OSError) as error:  # it has committed, so it can wait
        return Trouble(f"the server's state can't be used: {why(error)}", may_pass=True)
    trouble = await finished(folder, record["steps"], pool)
    if trouble is not None and not trouble.may_pass and (later := await run_sync(overtaken, folder)):
        return Trouble(later, is_final=True)
    return trouble


async def finished(folder: Path, steps: list[Json], pool: WorkerPool) -> Trouble | None:
    """Carry out the remaining steps in a run's folder; returns what prevents that."""
    try:
        if all(step["kind"] == FILE for step in steps):
            await run_sync(_finish_files, folder)
        else:
            await _finished_by_worker(folder, pool)
    except NotFinished as error:
        return Trouble(str(error), error.may_pass)
    except WorkerDied as error:
        return Trouble(str(error), may_pass=True)
    except OSError as error:
        return Trouble(explain(error))
    return None


async def _finished_by_worker(folder: Path, pool: WorkerPool) -> None:
    """If the spare worker has died or dies now, a new one repeats the steps, which are idempotent."""
    try:
        async with pool.worker() as worker:
            await worker.finish(folder)
    except WorkerDied:
        async with pool.worker(new=True) as worker:
            await worker.finish(folder)


def _finish_files(folder: Path) -> None:
    record = committed(folder)
    if record is None:
        for step in begun(folder):
            remove_draft(step)
        forget_begun(folder)
    else:
        for step in record["steps"]:
            put_in_place(step)


async def wait_until_free(lock: Path, unproven: Callable[[str], None] = lambda who: None) -> None:
    """Wait until no process holds a run's folder.

    A worker of a server on this system that does not exit (it may be stopped) is killed. Any other holder is passed
    to `unproven`, and the wait lasts as long as it holds the folder.
    """
    began = anyio.current_time()
    while is_held(lock):
        waited, process = anyio.current_time() - began, holder(lock)
        if process is not None and process.lives:
            if waited > _PATIENCE:
                process.kill()
        elif waited > _SURPRISE:
            unproven(str(process or "an unknown process"))
        await anyio.sleep(0.02 if waited < _PATIENCE else _LOOK)
