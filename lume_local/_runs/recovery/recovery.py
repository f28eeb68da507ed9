"""What is made of a run whose process is gone: a commit is carried out; without one nothing has happened."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from attrs import frozen

from lume_async.models import RunStatus
from lume_local._runs.health import why
from lume_local._runs.recorder import Recorder
from lume_local._runs.records import Run, StoreFailed
from lume_local._runs.recovery.overtaken import look
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.workers.worker import NotFinished, WorkerDied
from lume_local._runs.workers.worker_pool import Pool
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
"""Seconds that a worker whose server is gone gets to end by itself."""
_SURPRISE = 0.5
"""Seconds after which somebody else is taken to hold a folder; what a dead process has held may be held that long."""
_LOOK = 0.5
"""Seconds between two looks at a folder that is held for longer."""


@frozen
class Trouble:
    """What is in the way; `may_pass` where that may be over in a while, and `is_final` where it never will be."""

    text: str
    may_pass: bool = False
    is_final: bool = False

    @property
    def end(self) -> str:
        """How a run ends that it stays in the way of."""
        if self.is_final:
            return (
                f"its output is not put in place: {self.text}. Submit the run again if its rows are to count"
            )
        return f"its output can't be put in place: {self.text}. Submit the run again"


async def settle(run: Run, death: str, recorder: Recorder, paths: RunPaths, pool: Pool) -> str:
    """End a run whose process is gone; `death` says how it went.

    What is returned is in its way for a while, where it has committed: it is not ended then (see `late`).
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


async def undo(run: Run, paths: RunPaths, pool: Pool) -> None:
    """Leave nothing of a run that has not committed, neither in its folder nor elsewhere."""
    folder = paths.folder(run.run_id)
    if trouble := await finished(folder, begun(folder), pool):
        _log.warning("run %s: what it has begun can't be undone yet: %s", run.run_id, trouble.text)
    await run_sync(paths.give_up, run)


async def carried_out(
    run: Run, record: Json, recorder: Recorder, paths: RunPaths, pool: Pool
) -> Trouble | None:
    """Put in place what a run has committed, unless a later one has taken its place; what is in the way, if any."""
    folder = paths.folder(run.run_id)
    try:
        await look(run, record, folder, recorder)
    except (StoreFailed, OSError) as error:  # it has committed: nothing is lost by waiting
        return Trouble(f"the server's state can't be used: {why(error)}", may_pass=True)
    trouble = await finished(folder, record["steps"], pool)
    if trouble is not None and not trouble.may_pass and (later := await run_sync(overtaken, folder)):
        return Trouble(later, is_final=True)
    return trouble


async def finished(folder: Path, steps: list[Json], pool: Pool) -> Trouble | None:
    """Carry out what is left to do in a run's folder; what is in the way, if anything."""
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


async def _finished_by_worker(folder: Path, pool: Pool) -> None:
    """A spare worker may have died unseen, or dies now: a step may be repeated, and is, by a new process."""
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

    A worker of a server on this system that does not end by itself (it may be stopped) is killed. Who cannot be
    proven to be one is left alone: `unproven` is told of it, and the wait lasts as long as it holds the folder.
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
