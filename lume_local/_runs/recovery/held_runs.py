"""Runs of an earlier server whose folder a process still holds: each is recovered once that process lets go of it."""

import anyio

from lume_local._runs.health import Health
from lume_local._runs.records import Run
from lume_local._runs.recovery.recovery import wait_until_free
from lume_local._runs.sources.run_paths import RunPaths

_WHERE = "recovering runs that a process outside of this server may still work on"


class HeldRuns:
    """Waits for them, each by itself: they hold up nobody else.

    Args:
        paths: where their folders are.
        health: where it is reported that a process holds some that is not proven to be a worker of this system.
    """

    def __init__(self, paths: RunPaths, health: Health) -> None:
        self._paths, self._health = paths, health
        self._runs: dict[str, str] = {}
        """Who holds each of them, where that is not proven to be a worker of this system."""
        self._changed = anyio.Event()
        self._waits: list[anyio.CancelScope] = []

    @property
    def run_ids(self) -> set[str]:
        """The runs that are waited for: nobody else changes those."""
        return set(self._runs)

    def add(self, run: Run) -> None:
        """A run whose folder is held; `wait` for it."""
        self._runs[run.run_id] = ""

    async def wait(self, run: Run) -> bool:
        """Until nobody holds its folder; False where the server closes before that."""
        lock = self._paths.folder(run.run_id) / "lock"
        with anyio.CancelScope() as scope:
            self._waits.append(scope)
            await wait_until_free(lock, lambda who: self._report(run.run_id, who))
            return True
        return False

    def close(self) -> None:
        """End all waits: the next server takes them up."""
        for scope in self._waits:
            scope.cancel()

    def remove(self, run: Run) -> None:
        """It is recovered."""
        if self._runs.pop(run.run_id):
            self._tell()
        self._note()

    async def until_known(self) -> None:
        """Until each run is recovered, or is reported to wait."""
        while not all(self._runs.values()):
            await self._changed.wait()

    def _report(self, run_id: str, who: str) -> None:
        if self._runs[run_id] != who:
            self._runs[run_id] = who
            self._tell()
            self._note()

    def _tell(self) -> None:
        waiting = {run_id: who for run_id, who in self._runs.items() if who}
        if not waiting:
            return self._health.works(_WHERE)
        reason = "; ".join(f"{who} holds {self._paths.folder(run_id)}" for run_id, who in waiting.items())
        self._health.waits(
            _WHERE, len(waiting), f"{reason}. End it, if it is one of an earlier server", [*waiting]
        )

    def _note(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
