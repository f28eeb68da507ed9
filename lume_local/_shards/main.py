"""The entry of a worker process, which also carries out runs over shards."""

from typing import Any

from lume_local._worker import main as worker
from lume_local._worker.steps import Context


def main() -> None:
    """Serve jobs."""
    worker.main(_execute)


def _execute(context: Context) -> dict[str, Any]:
    from lume_local._shards.coordinator import execute  # only here: it loads much that other runs don't need

    return execute(context)
