"""Ends runs whose process has ended: a commit is carried out; without one, everything the run began is undone.

Runs may write to the same place; the run submitted last wins. So a delayed output must not replace the output of a
later run: it is not put in place, and the run's error message says so.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from anyio.to_thread import run_sync

from lume_async.models import RunStatus
from lume_local._runs.health import why
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun, StoreFailed
from lume_local._runs.times import ago_text
from lume_local._runs.workers.worker import NotFinished, WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import commit
from lume_local._shared.protocol import Json

_log = logging.getLogger("lume_local")

NOTHING_WRITTEN = "nothing was written: submit the run again"


class Trouble(NamedTuple):
    """Why an output is not in place; `may_pass` if a retry may work, `is_final` if it never will."""

    text: str
    may_pass: bool = False
    is_final: bool = False

    @property
    def end(self) -> str:
        if self.is_final:
            return (
                f"its output is not put in place: {self.text}. Submit the run again if its rows are to count"
            )
        return f"its output can't be put in place: {self.text}. Submit the run again"


class Settler:
    """Ends runs according to their folders; a worker carries out steps that only workers can do."""

    def __init__(self, store: SqlStore, recorder: RunRecorder, paths: RunPaths, pool: WorkerPool) -> None:
        self._store, self._recorder, self._paths, self._pool = store, recorder, paths, pool

    async def settle(self, run: StoredRun, death: str, end: str) -> str:
        """End a run whose process has ended; `death` says how. Returns the result of `end_committed`.

        Args:
            end: the end of the error message if there is no commit.
        """
        await self._recorder.still_ours()
        if (record := commit.committed(self._paths.folder(run.run_id))) is not None:
            return await self.end_committed(run, record, f"{death}; ")
        await self.undo(run)
        await self._recorder.end(run.run_id, RunStatus.CRASHED, message=f"{death}; {end}")
        return ""

    async def end_committed(
        self, run: StoredRun, record: Json, before: str = "", *, may_wait: bool = True
    ) -> str:
        """Carry out a commit, and end its run.

        Returns why the run can't be ended yet, if it `may_wait`; otherwise an empty string.
        """
        trouble = await self._carried_out(run, record)
        if trouble is None:
            await self._recorder.succeed(run.run_id, record)
            await run_sync(self._paths.clean_up, run)
        elif trouble.may_pass and may_wait:
            return trouble.text
        else:
            await self._recorder.end(run.run_id, RunStatus.CRASHED, message=before + trouble.end)
            await run_sync(self._paths.give_up, run)
        return ""

    async def undo(self, run: StoredRun) -> None:
        """Undo everything that a run without a commit has begun, in its folder and elsewhere."""
        folder = self._paths.folder(run.run_id)
        if trouble := await self.finished(folder, commit.begun(folder)):
            _log.warning("run %s: what it began can't be undone yet: %s", run.run_id, trouble.text)
        await run_sync(self._paths.give_up, run)

    async def _carried_out(self, run: StoredRun, record: Json) -> Trouble | None:
        """Put the committed output of a run in place, unless a later run has replaced it."""
        folder = self._paths.folder(run.run_id)
        try:
            since = ago_text(await run_sync(commit.committed_ago, folder))
            for place in places(record):
                other = await self._store.overtaken_by(run, since, place.location, of_source=place.of_source)
                if other is not None:
                    overtaken = (
                        f"run {other.run_id}, which was submitted later, has written {place.location} meanwhile, and "
                        "an older run does not replace the output of a newer one"
                    )
                    await run_sync(commit.note_overtaken, folder, overtaken)
                    break
        except (StoreFailed, OSError) as error:  # it has committed, so it can wait
            return Trouble(f"the server's state can't be used: {why(error)}", may_pass=True)
        trouble = await self.finished(folder, record["steps"])
        if (
            trouble is not None
            and not trouble.may_pass
            and (later := await run_sync(commit.overtaken, folder))
        ):
            return Trouble(later, is_final=True)
        return trouble

    async def finished(self, folder: Path, steps: list[Json]) -> Trouble | None:
        """Carry out the remaining steps in a run's folder; return the obstacle, if any."""
        try:
            if all(step["kind"] == commit.FILE for step in steps):
                await run_sync(_finish_files, folder)
            else:
                try:
                    async with self._pool.worker() as worker:
                        await worker.finish(folder)
                except WorkerDied:  # a new one repeats the steps, which are idempotent
                    async with self._pool.worker(new=True) as worker:
                        await worker.finish(folder)
        except NotFinished as error:
            return Trouble(str(error), error.may_pass)
        except WorkerDied as error:
            return Trouble(str(error), may_pass=True)
        except OSError as error:
            return Trouble(commit.explain(error))
        return None


def _finish_files(folder: Path) -> None:
    record = commit.committed(folder)
    if record is None:
        for step in commit.begun(folder):
            commit.remove_draft(step)
        commit.forget_begun(folder)
    else:
        for step in record["steps"]:
            commit.put_in_place(step)


class OutputPlace(NamedTuple):
    """The place of an output; with `of_source`, only runs of the same flow and source replace each other there."""

    location: str
    of_source: bool


def places(record: Json) -> list[OutputPlace]:
    """Return the places whose content a commit replaces. Pure."""
    found = []
    for step in record["steps"]:
        mode = step["load"]["mode"] if "load" in step else ""
        if mode != "append" and "was" not in step and "part" in step:
            location = record["target_locations"][step["part"]]
            found.append(OutputPlace(location, of_source=mode == "replace_batch"))
    return found
