"""A server's parts for arrivals, without its lanes: a test ends the runs, and moves the clock."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from local.states import moved

from lume_local._arrivals.place import ArrivalPlace
from lume_local._arrivals.settings import Arrival, read_arrivals
from lume_local._arrivals.submission import Submissions
from lume_local._arrivals.watcher import Watcher, WatcherParts, opened
from lume_local._flow.definition import read_toml
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.health import Health
from lume_local._runs.recorder import RunRecorder
from lume_local._runs.recovery.late import Late
from lume_local._runs.recovery.settle import Settler
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.resolver import SourceResolver
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import RunFilter, StoredFlow, StoredRun
from lume_local._runs.waiters import Hub
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._sftp.root import SftpRoot

FLOW = "flow = 'orders'\nversion = 'v1'\n[columns.no]\ntype = 'integer'\n"


def arrival_of(**values: Any) -> Arrival:
    """An arrival as a file has it."""
    settings = {"name": '"acme"', "flow": '"orders"', "from": '"in/*.csv"'} | values
    lines = "\n".join(f"{key} = {value}" for key, value in settings.items())
    (arrival,) = read_arrivals(f"[[arrival]]\n{lines}\n")
    return arrival


class Site:
    """One arrival of a server on a folder. Open it, and close it.

    Attributes:
        time: what its clock says, in seconds.
    """

    def __init__(self, home: Path, arrival: Arrival, *stores: str) -> None:
        self.home, self.arrival, self.time = home, arrival, 1000.0
        self._stores = stores
        self.watcher: Watcher
        self.place: ArrivalPlace
        self.store: SqliteStore

    async def open(self) -> None:
        sites = tuple(SftpRoot.of(one) for one in self._stores if one.startswith("sftp://"))
        stores = tuple(one for one in self._stores if not one.startswith("sftp://"))
        roots = Roots.of((self.home,), self.home / ".lume", stores, sites=sites)
        roots.state.mkdir(parents=True, exist_ok=True)
        self._stack = AsyncExitStack()
        self.store = SqliteStore(roots.state / "runs.sqlite")
        self._stack.callback(self.store.close)
        flow = read_toml(FLOW)
        known = StoredFlow(flow.ref, flow.content_hash, flow.definition, {}, "", "2026-01-01")
        pool, health, hub = WorkerPool(), Health(roots.data), Hub()
        flows = FlowRegistry(self.store, [known], pool)
        recorder = RunRecorder(self.store, hub, health, lambda: None, lambda run: None)
        paths = RunPaths(roots, flows, self.store)
        settler = Settler(self.store, recorder, paths, pool)
        late = Late(settler, paths, health)
        runner = Runner(self.store, recorder, paths, pool, settler, late, health, 1)
        resolver = SourceResolver(flows, roots, self.store.sources, pool)
        submissions = Submissions(self.store, flows, runner, resolver)
        self.watcher = Watcher(
            self.arrival, WatcherParts(self.store, submissions, roots, now=lambda: self.time)
        )
        self.place = await self._stack.enter_async_context(opened(self.arrival, roots))

    async def close(self) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def compare(self) -> None:
        await self.watcher.compare(self.place)
        await self.watcher.move(self.place)

    async def after(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.time += seconds
        await self.watcher.move(self.place)
        await self.watcher.step(self.place)

    async def runs(self) -> list[StoredRun]:
        """All runs, oldest first."""
        return (await self.store.runs(RunFilter(), None, 100_000))[::-1]

    async def end(self, run: StoredRun, status: str = "SUCCEEDED") -> None:
        self.watcher.run_ended(await moved(self.store, run.run_id, status))

    def waiting(self) -> dict[str, str]:
        """Why files wait, by their paths."""
        return {one.entry.path: one.why for one in self.watcher.waiting}

    async def refused(self) -> dict[str, str]:
        return {one.path: one.why for one in await self.store.arrivals.refused(self.arrival.name, 1000)}
