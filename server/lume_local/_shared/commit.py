"""The commit of a run, and its remaining steps. Imports no other parts: worker and recovery share it.

Until `commit.json` appears in the run's folder, nothing has happened and everything can be thrown away. From then on
the run has succeeded and only has to be carried out: any surviving process may repeat each of its steps as often as
needed.

A step is a JSON object with the `kind` of its target. Steps of the kind `FILE` are carried out here, by any process;
steps of other kinds by a worker process (see `_worker/targets`).
"""

import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from lume_local._shared import no_links
from lume_local._shared.identity import identity, remove_if

FILE = "file"
"""The kind of a step that moves a file into place, or that notes a draft beside that place."""
_COMMIT = "commit.json"
_BEGUN = "begun.json"
_DONE = "done.json"
_OVERTAKEN = "overtaken.json"


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a power cut it is complete or absent."""
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    with no_links.folder(path) as handle:
        os.fsync(handle)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def draft_of(final: Path, run_id: str) -> Path:
    """Return the path of a draft beside its final place, for a run whose folder is on another file system."""
    return final.with_name(f".{final.name}.{run_id}.draft")


def bring_near(built: Path, final: Path, run_id: str, begin: Callable[[dict[str, Any]], None]) -> Path:
    """Make publishing a single rename: copy a file from another file system to a draft beside its place.

    `begin` is called with the note of the draft before it exists.
    """
    with no_links.folder(final.parent, make=True) as folder:
        if built.stat().st_dev == os.fstat(folder).st_dev:
            return built
    near = draft_of(final, run_id)
    begin({"kind": FILE, "draft": str(near)})
    copy_durably(built, near)
    return near


def copy_durably(source: Path, draft: Path) -> None:
    """Copy a file of a run to a place that others may write to."""
    handle = no_links.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with source.open("rb") as file, os.fdopen(handle, "wb") as out:
        shutil.copyfileobj(file, out, 4 * 1024 * 1024)
        out.flush()
        os.fsync(out.fileno())


def begin(folder: Path, step: dict[str, Any]) -> None:
    """Note durably a step outside of the run's folder before it begins; if no commit follows, it is undone."""
    write_durably(folder / _BEGUN, orjson.dumps([*begun(folder), step]))


def begun(folder: Path) -> list[dict[str, Any]]:
    """Return the steps noted by `begin`, in order."""
    steps: list[dict[str, Any]] = _read(folder / _BEGUN) or []
    return steps


def forget_begun(folder: Path) -> None:
    """Remove the notes after everything was undone."""
    (folder / _BEGUN).unlink(missing_ok=True)


def hand_over(folder: Path, to: Path) -> None:
    """Move the notes of steps that are not undone to another folder, since this one is removed."""
    if steps := begun(folder):
        to.mkdir(parents=True, exist_ok=True)
        write_durably(to / _BEGUN, orjson.dumps(steps))


def commit(folder: Path, record: dict[str, Any]) -> None:
    """Commit a run: the point of no return. `record["steps"]` are the remaining steps."""
    write_durably(folder / _COMMIT, orjson.dumps(record))


def committed(folder: Path) -> dict[str, Any] | None:
    """Return the record of a committed run, else None."""
    record: dict[str, Any] | None = _read(folder / _COMMIT)
    return record


def committed_ago(folder: Path) -> float:
    """Return the seconds since the run was committed, by the clock of the file system."""
    return max(0.0, time.time() - (folder / _COMMIT).stat().st_mtime)


def note_done(folder: Path, steps: int) -> None:
    """Note that the first steps of a commit are carried out: they are not repeated, whatever becomes of the rest."""
    write_durably(folder / _DONE, orjson.dumps(steps))


def done(folder: Path) -> int:
    """Return how many steps are noted as carried out."""
    steps: int = _read(folder / _DONE) or 0
    return steps


def note_overtaken(folder: Path, why: str) -> None:
    """Note that a run submitted later has written to the same place: unfinished steps are not carried out."""
    write_durably(folder / _OVERTAKEN, orjson.dumps(why))


def overtaken(folder: Path) -> str:
    """Return why the rest of a commit is not carried out; empty if it is."""
    why: str = _read(folder / _OVERTAKEN) or ""
    return why


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def put_in_place(step: dict[str, Any]) -> None:
    """Carry out a step of the kind `FILE`. Repeating it does no harm. Raises OSError."""
    if "was" in step:
        return _vacate(step)
    source, target = Path(step["from"]), Path(step["to"])
    try:
        no_links.replace(source, target)
    except FileNotFoundError:
        if not no_links.exists(target):
            raise
    sync_folder(target.parent)


def vacating(final: Path, part: str, run_id: str) -> dict[str, Any] | None:
    """Return a step of the kind `FILE` that removes an earlier run's file from a place; None if there is none."""
    try:
        was = identity(final)
    except FileNotFoundError:
        return None
    return {"kind": FILE, "part": part, "to": str(final), "was": was, "run": run_id}


def _vacate(step: dict[str, Any]) -> None:
    """Remove the noted file; a file that another run has put there meanwhile stays."""
    place = Path(step["to"])
    remove_if(place, step["was"], step["run"])
    with suppress(FileNotFoundError):
        sync_folder(place.parent)


def remove_draft(step: dict[str, Any]) -> None:
    no_links.unlink(Path(step["draft"]))


def explain(error: OSError) -> str:
    """Return the message of an operating-system error for users."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    limit = " (see `ulimit -f`)" if error.errno == errno.EFBIG else ""  # such an error has no file name
    return f"{error.strerror or error}{limit}" + (f": {error.filename}" if error.filename else "")
