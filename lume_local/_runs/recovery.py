"""What is made of a run whose process is gone: a commit is carried out; without one nothing has happened."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from lume_async.models import RunStatus
from lume_local._runs.recorder import Recorder
from lume_local._runs.run_paths import RunPaths
from lume_local._runs.store import Run
from lume_local._shared.commit import committed, explain, publish
from lume_local._shared.lock import Locked, held, holder

_PATIENCE = 5.0
"""Seconds that a worker whose server is gone gets to end by itself."""


async def settle(run: Run, death: str, recorder: Recorder, paths: RunPaths) -> None:
    """End a run whose process is gone; `death` says how it went."""
    record = committed(paths.folder(run.run_id))
    if record is None:
        await run_sync(lambda: paths.clean_up(run, published=False))
        message = f"{death}; nothing was written: submit the run again"
        await recorder.end(run.run_id, RunStatus.CRASHED, message=message)
        return
    try:
        await run_sync(publish, record)
    except OSError as error:
        message = f"{death}; its output is complete but can't be put in place: {explain(error)}"
        await recorder.end(run.run_id, RunStatus.CRASHED, message=message)
    else:
        await recorder.succeed(run.run_id, record)
    await run_sync(lambda: paths.clean_up(run, published=True))


async def wait_until_free(lock: Path) -> None:
    """Wait until no worker holds a run's folder; one that doesn't end by itself (it may be stopped) is killed."""
    deadline = anyio.current_time() + _PATIENCE
    while True:
        try:
            with held(lock, make=False):
                return
        except FileNotFoundError:
            return
        except Locked:
            if anyio.current_time() > deadline and (pid := holder(lock)) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await anyio.sleep(0.02)
