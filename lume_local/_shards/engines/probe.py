"""Whether the workers of a cluster can do a server's tasks: they have its versions, and see its data folder."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lume_local._shards.engines.executors import shown
from lume_local._shards.executor import Executor, ExecutorLost, Json
from lume_local._shards.tasks import other_versions, versions

_MOST = 64
"""Tasks that look: on a large cluster not every worker is asked, and each is when it has its first real task."""


def probe(argument: Json) -> Json:
    """On a worker: who it is, what it has, and what it reads at `path`."""
    found: Json = {"where": f"{socket.gethostname()} (process {os.getpid()})", "has": versions(), "read": ""}
    if argument["path"] is not None:
        try:
            found["read"] = Path(argument["path"]).read_text()
        except OSError as error:
            found["why"] = error.strerror or str(error)
    return found


def check_workers(executor: Executor, url: str, path: str) -> None:
    """Have workers read a file that the server has written. Raises `ExecutorLost`."""
    wanted = Path(path).read_text()
    for found in _looks(executor, path):
        if found["has"] != versions():
            raise ExecutorLost(f"the engine {shown(url)}: {other_versions(found)}")
        if found["read"] != wanted:
            why = found.get("why", "another file is there")
            raise ExecutorLost(
                f"the engine {shown(url)}: the worker {found['where']} can't read {path} ({why}): the data folder "
                "and the sources must lie on storage that all workers have at the same path"
            )


def _looks(executor: Executor, path: str) -> Iterator[Json]:
    return executor.map(probe, [{"path": path}] * min(executor.slots, _MOST), lambda: None)
