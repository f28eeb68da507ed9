"""A database for a task: confined as that of a run is, with what the flow's statements need."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from attrs import asdict
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import Execute
from lume_local._worker.engine import confine, connect
from lume_local._worker.seeds import load_seeds
from lume_local._worker.sources.source import File


def plain_job(job: Execute) -> dict[str, Any]:
    """A job for the argument of a task: it has one slot, and needs no engine nor to know the way to one."""
    return asdict(job, recurse=False) | {"engine": None, "threads": 1}


def note_job(job: Execute) -> str:
    """Write what the tasks of a run have in common to a file in its folder; its path, which each of them is told.

    A flow may be as large as a shard is many, and a source may have as many files as there are shards. What is in
    the files is told to the task that reads them, and only the server writes to targets.
    """
    path = Path(job.folder) / "tasks.json"
    path.write_bytes(orjson.dumps(plain_job(job) | {"source": {}, "mapped": {}, "rejects": {}}))
    return str(path)


def job_of(argument: dict[str, Any]) -> Execute:
    """The job of a task's argument."""
    return Execute(**orjson.loads(Path(argument["job"]).read_bytes()))


@contextmanager
def opened(
    job: Execute, folder: Path, paths: Sequence[Path] = (), seeds_in: Path | None = None
) -> Iterator[tuple[DuckDBPyConnection, dict[str, Any]]]:
    """A database that reads and writes below `folder` and reads `paths`.

    With what the flow's seeds were, where they are wanted: `seeds_in` is where copies of them go.
    """
    with connect() as connection:
        seeds = {} if seeds_in is None else load_seeds(connection, job.flow, job.seeds, seeds_in)
        files = [File(path, str(path), job.flow["format"], 0) for path in paths]
        confine(connection, folder, files, job)
        for statement in job.flow["cleaners"]:
            connection.execute(statement)
        yield connection, seeds
