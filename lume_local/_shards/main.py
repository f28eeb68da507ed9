"""The entry of a worker process: a run that has an engine is carried out over shards, any other as ever."""

from lume_local._shared.protocol import Execute
from lume_local._worker import main as worker
from lume_local._worker.engine import Run


def main() -> None:
    """Serve jobs."""
    worker.main(_kind_of)


def _kind_of(job: Execute) -> type[Run]:
    if job.engine is None:
        return Run
    from lume_local._shards.coordinator import Sharded  # only here: it loads much that other runs don't need

    return Sharded
