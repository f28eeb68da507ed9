"""Where a run reads and writes, what its worker is asked for, and what is removed after it."""

import shutil
from pathlib import Path

from lume_local._runs.flow_registry import Flows
from lume_local._runs.paths import PathRefused, Roots, spelled
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
        source = self._source(run)
        mapped, rejects = self._targets(run, source)
        if source in (mapped, rejects):
            raise PathRefused(f"the target {str(source)!r} is the source itself: choose another place")
        return Execute(
            run_id=run.run_id,
            flow=await self._flows.compiled(run.flow_version),
            source={
                "kind": "files",
                "files": [{"path": str(source), "shown": str(source)}],
                "looked_up": self._roots.looked_up(self._spelled(run)),
            },
            folder=str(self.folder(run.run_id)),
            mapped={"kind": FILE, "path": str(mapped)},
            rejects={"kind": FILE, "path": str(rejects)},
            memory_limit=MEMORY_LIMIT,
            threads=THREADS,
        )

    def folder(self, run_id: str) -> Path:
        """The run's own folder, while it is active."""
        return self.folders / run_id

    def clean_up(self, run: Run) -> None:
        """Remove the run's folder. After a commit this comes last, since the folder proves the commit."""
        shutil.rmtree(self.folder(run.run_id), ignore_errors=True)

    def _source(self, run: Run) -> Path:
        return self._roots.source(self._spelled(run))

    def _spelled(self, run: Run) -> str:
        return spelled(self._flows.parsed(run.flow_version).source.uri, run.source_path)

    def _targets(self, run: Run, source: Path) -> tuple[Path, Path]:
        flow = self._flows.parsed(run.flow_version)
        values = {
            "data": str(self._roots.data),
            "flow": flow.name,
            "version": flow.version,
            "run_id": run.run_id,
            "source_path": self._roots.relative(source),
        }
        return self._roots.target(flow.mapped, values), self._roots.target(flow.rejects, values)
