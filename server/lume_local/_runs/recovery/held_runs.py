"""Runs of an earlier server whose folder a process still holds: each is recovered once the process releases it."""

import anyio

from lume_local._runs.health import Health
from lume_local._runs.recovery.settle import wait_until_free
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.store.records import StoredRun

_WHERE = "recovering runs that a process outside of this server may still work on"


class HeldRuns:
    """Waits for each run separately, without delaying other runs."""

    def __init__(self, paths: RunPaths, health: Health) -> None:
        self._paths, self._health = paths, health
        self._runs: dict[str, str] = {}
        """By run, the process that holds its folder, if it is not a known worker; otherwise empty."""
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
        lock = self._paths.folder(run.run_id) / "lock"
        with anyio.CancelScope() as scope:
            self._waits.append(scope)
            await wait_until_free(lock, lambda who: self._report(run.run_id, who))
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
