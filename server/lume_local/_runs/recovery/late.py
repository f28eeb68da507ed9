"""Runs that wait for something outside the server, such as an unreachable database or object store.

Runs that have committed, but whose output can't be put in place yet, are neither repeated nor abandoned: their commit
is carried out as soon as possible. Until then they are unfinished, so that no other run processes their source.

Steps that ended runs began elsewhere and could not undo, such as an upload, have a folder per run below the server's
state; they are undone as soon as possible, by this server or a later one.

An arrival's run whose source is unreachable is CREATED again and waits, since nobody would resubmit its file.

A run of an earlier server whose folder a process still holds waits until the process has released it.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.to_thread import run_sync

from lume_async._base.platform import is_locked
from lume_local._runs.health import Health, why
from lume_local._runs.recovery.settle import NOTHING_WRITTEN, Settler
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.store.records import StoredRun
from lume_local._runs.upkeep import retry_rounds
from lume_local._shared.commit import begun, committed, committed_ago, explain
from lume_local._shared.lock import holder

_log = logging.getLogger("lume_local")

FIRST, LONGEST = 2.0, 300.0
"""Seconds between two rounds, see `retry_rounds`."""
PATIENCE = 86400.0
"""Seconds after the commit after which a run is ended without its output."""
_WHERE = "putting the output of runs in place"
_AWAY = "reading the files of arrivals"


class _Waiting(NamedTuple):
    run: StoredRun
    since: float


class Rested:
    """Runs of arrivals whose sources are unreachable. Each is executed again later; until then its arrival rests.

    A single run tests whether the place is reachable again, not every queued one. A run whose own file is at fault
    comes after the others of its arrival.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._since: dict[str, float] = {}
        self._runs: dict[str, _Rest] = {}
        self._arrivals: dict[str, _Rest] = {}
        self._reason = ""

    def may_add(self, run: StoredRun) -> bool:
        """Return whether it is an arrival's run that has not waited longer than a commit may."""
        now = anyio.current_time()
        return run.arrival is not None and now < self._since.get(run.run_id, now) + PATIENCE

    def add(self, run: StoredRun, reason: str) -> None:
        assert run.arrival is not None, "see `may_add`"
        now = anyio.current_time()
        self._since.setdefault(run.run_id, now)
        before = self._arrivals.get(run.arrival)
        pause = FIRST if before is None else min(2 * before.pause, LONGEST)
        self._arrivals[run.arrival] = _Rest(pause, now + pause)
        self._runs[run.run_id] = _Rest(pause, now + 2 * pause)
        self._reason = reason
        self._tell()

    def remove(self, run_id: str) -> None:
        self._since.pop(run_id, None)
        if self._runs.pop(run_id, None):
            self._tell()

    def _tell(self) -> None:
        if self._runs:
            self._health.waits(_AWAY, len(self._runs), self._reason, list(self._runs))
        else:
            self._health.works(_AWAY)

    def is_back(self, arrival: str | None) -> bool:
        """Release the runs of an arrival, since one has found its source; return whether it was at rest."""
        return self._arrivals.pop(arrival or "", None) is not None

    @property
    def run_ids(self) -> set[str]:
        """The runs that are not due yet."""
        now = anyio.current_time()
        return {run_id for run_id, rest in self._runs.items() if rest.until > now}

    def arrivals(self, active: Iterable[StoredRun]) -> set[str]:
        """Return the resting arrivals: their next run is not due yet, or is testing whether the source is back."""
        now, trying = anyio.current_time(), {run.arrival for run in active}
        return {name for name, rest in self._arrivals.items() if rest.until > now or name in trying}

    @property
    def pause(self) -> float:
        """Seconds until the next of them is due."""
        now = anyio.current_time()
        rests = [*self._runs.values(), *self._arrivals.values()]
        return min((rest.until - now for rest in rests if rest.until > now), default=inf)


class _Rest(NamedTuple):
    pause: float
    until: float


class Late:
    """Carries out late commits, one after the other."""

    def __init__(self, settler: Settler, paths: RunPaths, health: Health) -> None:
        self._settler, self._paths, self._health = settler, paths, health
        self._waiting: dict[str, _Waiting] = {}
        self._more = anyio.Event()

    @property
    def run_ids(self) -> set[str]:
        """The waiting runs: only this class changes them."""
        return set(self._waiting)

    async def settle(self, run: StoredRun, death: str, end: str = NOTHING_WRITTEN) -> None:
        """See `Settler`; a run that can't be ended yet waits here."""
        if trouble := await self._settler.settle(run, death, end):
            self.add(run, trouble)

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
        await retry_rounds(self._round, _WHERE, self._health, FIRST, LONGEST)

    async def _round(self) -> tuple[int, str]:
        """Try each run once; return how many still wait, and the first obstacle."""
        if not self._waiting:
            await self._more.wait()
            await anyio.sleep(FIRST)
        # In order of submission: if several outputs share a place, the newest remains, as without a failure.
        waiting = sorted(self._waiting.values(), key=lambda one: one.run.seq)
        troubles = [trouble for one in waiting if (trouble := await self._try(one))]
        return len(troubles), troubles[0] if troubles else ""

    async def _try(self, one: _Waiting) -> str:
        """Return the remaining obstacle; empty once the run has ended."""
        may_wait = anyio.current_time() < one.since + PATIENCE
        try:
            record = committed(self._paths.folder(one.run.run_id))
            assert record is not None, "only this class removes it"
            trouble = await self._settler.end_committed(one.run, record, may_wait=may_wait)
        except Exception as error:
            _log.exception("run %s: internal error of the server", one.run.run_id)
            return why(error)
        if not trouble:
            del self._waiting[one.run.run_id]
        return trouble


UNDO_FIRST, UNDO_LONGEST = 5.0, 900.0
_MOST_TROUBLES = 10
"""Failures that end a round, since each may take a minute. Runs just tried come last in the next round."""
_UNDOING = "undoing what ended runs have begun"


class Leftovers:
    """Undoes leftovers of ended runs, one run after the other."""

    def __init__(self, settler: Settler, paths: RunPaths, health: Health) -> None:
        self._settler, self._paths, self._health = settler, paths, health

    async def undo_all(self) -> None:
        await retry_rounds(self._round, _UNDOING, self._health, UNDO_FIRST, UNDO_LONGEST)

    async def _round(self) -> tuple[int, str]:
        """Try each run once; return how many still have leftovers, and the first obstacle, if any."""
        troubles: list[str] = []
        not_noted = await run_sync(self._paths.give_up_again)
        try:
            waiting = await run_sync(self._waiting)
        except OSError as error:
            return max(1, len(not_noted)), explain(error)
        left = len(not_noted) + len(waiting)
        for folder in waiting:
            if trouble := await self._try(folder):
                troubles.append(trouble)
                if len(troubles) == _MOST_TROUBLES:
                    break
            else:
                left -= 1
        troubles += not_noted
        return left, troubles[0] if troubles else ""

    async def _try(self, folder: Path) -> str:
        """Return the obstacle of one run; an error does not affect the others."""
        try:
            trouble = await self._settler.finished(folder, await run_sync(begun, folder))
            if trouble is None:
                await run_sync(shutil.rmtree, folder)
                _log.info("run %s: what it had begun has been undone", folder.name)
                return ""
            text = trouble.text
        except Exception as error:
            text = f"{folder} can't be used: {why(error)}"
        with suppress(OSError):
            os.utime(folder)
        return text

    def _waiting(self) -> list[Path]:
        try:
            folders = [one for one in self._paths.begun.iterdir() if one.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(folders, key=lambda folder: folder.stat().st_mtime)


_HELD = "recovering runs that a process outside of this server may still work on"
_TO_EXIT = 5.0
"""Seconds for a worker to exit after its server has ended."""
_SURPRISE = 0.5
"""Seconds after which a holder is reported; the lock of a dead process may last that long."""
_LOOK = 0.5
"""Seconds between two checks of a folder that is held for longer."""


class HeldRuns:
    """Runs of an earlier server whose folder a process still holds. Each is recovered once it is released."""

    def __init__(self, paths: RunPaths, health: Health) -> None:
        self._paths, self._health = paths, health
        self._runs: dict[str, str] = {}
        """The process that holds each run's folder; empty for a known worker."""
        self._changed = anyio.Event()
        self._waits: list[anyio.CancelScope] = []

    @property
    def run_ids(self) -> set[str]:
        """The runs being waited for: only this class's owner changes them."""
        return set(self._runs)

    def add(self, run: StoredRun) -> None:
        self._runs[run.run_id] = ""

    async def wait(self, run: StoredRun) -> bool:
        """Wait until no process holds the run's folder; return False if the server closes first."""

        def report(who: str) -> None:
            if self._runs[run.run_id] != who:
                self._runs[run.run_id] = who
                self._tell()
                self._note()

        with anyio.CancelScope() as scope:
            self._waits.append(scope)
            await wait_until_free(self._paths.folder(run.run_id) / "lock", report)
            return True
        return False

    def close(self) -> None:
        """End all waits; the next server recovers the runs."""
        for scope in self._waits:
            scope.cancel()

    def remove(self, run: StoredRun) -> None:
        if self._runs.pop(run.run_id):
            self._tell()
        self._note()

    async def until_known(self) -> None:
        """Wait until each run is recovered or reported as waiting."""
        while not all(self._runs.values()):
            await self._changed.wait()

    def _tell(self) -> None:
        waiting = {run_id: who for run_id, who in self._runs.items() if who}
        if not waiting:
            return self._health.works(_HELD)
        reason = "; ".join(f"{who} holds {self._paths.folder(run_id)}" for run_id, who in waiting.items())
        self._health.waits(
            _HELD, len(waiting), f"{reason}. End it, if it is one of an earlier server", [*waiting]
        )

    def _note(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


async def wait_until_free(lock: Path, unproven: Callable[[str], None] = lambda who: None) -> None:
    """Wait until no process holds a run's folder.

    A worker of a server on this system that does not exit (it may be suspended) is killed. Any other holder is passed
    to `unproven`, and the wait lasts as long as it holds the folder.
    """
    began = anyio.current_time()
    while is_locked(lock):
        waited, process = anyio.current_time() - began, holder(lock)
        if process is not None and process.lives:
            if waited > _TO_EXIT:
                process.kill()
        elif waited > _SURPRISE:
            unproven(str(process or "an unknown process"))
        await anyio.sleep(0.02 if waited < _TO_EXIT else _LOOK)
