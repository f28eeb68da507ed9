"""The resources of a task: its folder, the job, a database, and the bytes of a source."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from attrs import asdict
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import Execute
from lume_local._worker.connection import confine, connect
from lume_local._worker.object_stores import ObjectVersion, StoreTrouble, store_of
from lume_local._worker.seeds import load_seeds
from lume_local._worker.sources.files import opened
from lume_local._worker.sources.places.held import changed
from lume_local._worker.sources.places.store_source import copy_object
from lume_local._worker.sources.source import File, Single, SourceError, place_to_read


def new_folder(folder: Path, name: str) -> Path:
    """Create a folder below the run's; each attempt of a task has its own. Fails if the run's folder is gone."""
    made = folder / f"{name}-{uuid.uuid4().hex[:12]}"
    made.mkdir()
    return made


def plain_job(job: Execute) -> dict[str, Any]:
    """Return a job for a task's argument: it has one slot and no engine."""
    return asdict(job, recurse=False) | {"engine": None, "threads": 1}


def note_job(job: Execute) -> str:
    """Write the common part of a run's tasks to a file in its folder; return its path, for each argument.

    A flow may be large and shards many, and a source may have as many files as there are shards. Only the task that
    reads a file gets its place, and only the server writes to targets.
    """
    path = Path(job.folder) / "tasks.json"
    path.write_bytes(orjson.dumps(plain_job(job) | {"source": {}, "mapped": {}, "rejects": {}}))
    return str(path)


def job_of(argument: dict[str, Any]) -> Execute:
    return Execute(**orjson.loads(Path(argument["job"]).read_bytes()))


@contextmanager
def database(
    job: Execute, folder: Path, paths: Sequence[Path] = (), seeds_in: Path | None = None
) -> Iterator[tuple[DuckDBPyConnection, dict[str, Any]]]:
    """Open a database that reads and writes below `folder` and reads `paths`; yield the seeds, too.

    `seeds_in` is the folder for copies of the flow's seeds; without it they are not loaded.
    """
    with connect() as connection:
        seeds = {} if seeds_in is None else load_seeds(connection, job.flow, job.seeds, seeds_in)
        files = [File(path, str(path), job.flow["format"], 0) for path in paths]
        confine(connection, folder, files, job)
        yield connection, seeds


def local_path(single: Single) -> Path | None:
    """Return its path on this machine or on shared storage; None for an object of a store."""
    return place_to_read(single.place["files"][0]) if single.place["kind"] == "files" else None


def paths_of(single: Single) -> tuple[str, ...]:
    """Return its path below the server's root, or its URL (see `File`)."""
    below = single.place["files"][0].get("below") if single.place["kind"] == "files" else None
    return (below or single.shown,)


def open_part(path: Path, tag: str, shown: str) -> BinaryIO:
    """Open a file for reading a part: one of the source, unchanged since the run began, or a copy without `tag`.

    Raises `SourceError`.
    """
    handle, found = opened(path)
    if tag and found.tag != tag:
        os.close(handle)
        raise changed(shown)
    return os.fdopen(handle, "rb")


def fetch_range(single: Single, start: int, end: int, path: Path) -> Path:
    """Write the bytes of an object from `start` to `end` to `path`, by one request. Raises `SourceError`."""
    url: str = single.place["objects"][0]["url"]
    try:
        store = store_of(url)
    except StoreTrouble as trouble:
        raise SourceError(str(trouble), may_pass=trouble.may_pass) from None
    copy_object(store, url, ObjectVersion(single.bytes, single.tag), path, (start, end))
    return path
