"""Loads in processes of their own, which a test can kill."""

import multiprocessing
import os
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from attrs import evolve
from local.loads.table_run import ENV, flow_of, job_of
from local.one_run import carried_out

from lume_local._worker.connection import connect
from lume_local._worker.targets import target_kinds

_CONTEXT: Any = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])
COLUMNS = {"id": {"type": "integer", "required": True, "unique": True}, "name": {"pattern": "^[a-z]*$"}}
TARGET = {
    "mapped": {
        **{"url_env": ENV, "table": "clean", "mode": "upsert", "key": ["id"]},
        **{"history": "scd2", "create": True},
    },
    "rejects": {"url_env": ENV, "table": "bad", "create": True},
}
"""Both tables in one database."""


def begun(folder: Path, run_id: str, at: datetime) -> BaseProcess:
    """Begin the run over the file `folder / source.csv`, with its folder `folder / run`."""
    return _started(_run, str(folder), run_id, at.isoformat() + "Z")


def finishing(folder: Path) -> BaseProcess:
    """Finish the run of another process, as a server does."""
    return _started(_finish, str(folder))


def _started(work: Any, *args: str) -> BaseProcess:
    process: BaseProcess = _CONTEXT.Process(target=work, args=(os.environ[ENV], *args), daemon=True)
    process.start()
    return process


def _run(url: str, place: str, run_id: str, at: str) -> None:
    os.environ[ENV], folder = url, Path(place)
    flow = flow_of(columns=COLUMNS, target=TARGET)
    job = job_of(flow, folder, run_id, at=at)
    query = f"SELECT id, name FROM source WHERE run = '{run_id}'"
    job = evolve(job, source=job.source | {"query": query})
    with connect() as connection:
        carried_out(connection, job)


def _finish(url: str, place: str) -> None:
    os.environ[ENV] = url
    target_kinds.finish(Path(place) / "run")
