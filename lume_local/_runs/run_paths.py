"""Where a run reads and writes, what its worker is asked for, and what is removed after it."""

import shutil
from pathlib import Path

from anyio.to_thread import run_sync

from lume_local._flow.definition import Flow
from lume_local._runs.flow_registry import Flows
from lume_local._runs.paths import PathRefused, Roots
from lume_local._runs.source_files import Wanted
from lume_local._runs.store import Run
from lume_local._shared.commit import FILE
from lume_local._shared.protocol import Execute

MEMORY_LIMIT = "1GB"
THREADS = 2
"""What one run may use."""


class RunPaths:
    """The places of runs: those that their flows name, and a folder for each below the state folder."""

    def __init__(self, roots: Roots, flows: Flows) -> None:
        self._roots, self._flows = roots, flows
        self.folders = roots.state / "runs"

    async def job(self, run: Run) -> Execute:
        """What its worker is asked for. Raises `PathRefused`, and what compiling its flow raises."""
        flow = self._flows.parsed(run.flow_version)
        wanted = Wanted(flow.source.uris, run.source_path)
        sources = await run_sync(wanted.files, self._roots)
        mapped, rejects = self._targets(run, flow, wanted, sources)
        for source in sources:
            if source in (mapped, rejects):
                raise PathRefused(f"the target {str(source)!r} is the source itself: choose another place")
        shown = str if wanted.is_single else self._roots.relative
        return Execute(
            run_id=run.run_id,
            flow=await self._flows.compiled(run.flow_version),
            source={
                "kind": "files",
                "files": [{"path": str(source), "shown": shown(source)} for source in sources],
                "looked_up": wanted.looked_up(self._roots),
            },
            folder=str(self.folder(run.run_id)),
            mapped={"kind": FILE, "path": str(mapped)},
            rejects={"kind": FILE, "path": str(rejects)},
            memory_limit=MEMORY_LIMIT,
            threads=THREADS,
            seeds={seed.name: self._seed(seed.path) for seed in flow.seeds},
        )

    def _seed(self, path: str) -> dict[str, str]:
        return {"path": str(self._roots.source(path)), "looked_up": self._roots.looked_up(path)}

    def folder(self, run_id: str) -> Path:
        """The run's own folder, while it is active."""
        return self.folders / run_id

    def clean_up(self, run: Run) -> None:
        """Remove the run's folder. After a commit this comes last, since the folder proves the commit."""
        shutil.rmtree(self.folder(run.run_id), ignore_errors=True)

    def _targets(self, run: Run, flow: Flow, wanted: Wanted, sources: list[Path]) -> tuple[Path, Path]:
        values = {
            "data": str(self._roots.data),
            "flow": flow.name,
            "version": flow.version,
            "run_id": run.run_id,
            "source_path": self._source_path(run, wanted, sources),
        }
        return self._roots.target(flow.mapped, values), self._roots.target(flow.rejects, values)

    def _source_path(self, run: Run, wanted: Wanted, sources: list[Path]) -> str:
        """What `{source_path}` stands for in a target: never absolute, never with `..`."""
        if wanted.is_single:
            return self._roots.relative(sources[0])
        return self._roots.relative(self._roots.located(run.source_path))
