"""The commit of a run, and what must be moved after it. Stdlib only: the worker and the recovery share it.

Up to the moment at which `commit.json` appears in the run's folder, nothing has happened and everything can
be thrown away; after it, the run has succeeded and only has to be carried out: `publish` may be repeated as
often as needed, by whoever survives.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import orjson

_COMMIT = "commit.json"


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a power cut it is there whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def draft_of(final: Path, run_id: str) -> Path:
    """Where a file waits beside its final place, when the run's folder lies on another file system."""
    return final.with_name(f".{final.name}.{run_id}.draft")


def bring_near(built: Path, final: Path, run_id: str) -> Path:
    """Make sure that publishing is one rename: a file on another file system is copied beside its place first."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if built.stat().st_dev == final.parent.stat().st_dev:
        return built
    near = draft_of(final, run_id)
    shutil.copyfile(built, near)
    sync_file(near)
    return near


def commit(folder: Path, record: dict[str, Any]) -> None:
    """The point of no return. `record["moves"]` lists `[from, to]`."""
    write_durably(folder / _COMMIT, orjson.dumps(record))


def committed(folder: Path) -> dict[str, Any] | None:
    """The record of a run that has been committed, else None."""
    try:
        record: dict[str, Any] = orjson.loads((folder / _COMMIT).read_bytes())
    except FileNotFoundError:
        return None
    return record


def publish(record: dict[str, Any]) -> None:
    """Carry a commit out. Repeating it does no harm. Raises OSError where a place can't be written."""
    for source, target in record["moves"]:
        try:
            os.replace(source, target)
        except FileNotFoundError:
            if not Path(target).exists():
                raise
        sync_folder(Path(target).parent)


def explain(error: OSError) -> str:
    """An operating-system error in words for a user."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
