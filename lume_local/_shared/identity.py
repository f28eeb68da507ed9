"""The identity of a written file, which neither a rename nor time changes."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lume_local._shared import no_links


def identity(path: Path | int) -> str:
    """The size of a file, or of one that is open, and when it was last written. Raises OSError."""
    found = os.fstat(path) if isinstance(path, int) else no_links.stat(path)
    return f"{found.st_size}-{found.st_mtime_ns}"


def is_still(path: Path, noted: str) -> bool:
    """Whether the file is the one that was noted. Raises OSError."""
    try:
        return identity(path) == noted
    except FileNotFoundError:
        return False


def aside(path: Path, run_id: str) -> Path:
    """The name of a file while it is being removed."""
    return path.with_name(f".{path.name}.{run_id}.old")


def remove_if(
    path: Path, noted: str, run_id: str, before: Callable[[Path], None] = lambda moved: None
) -> bool:
    """Remove the file if it is the one that was noted; `before` sees it for the last time. Raises OSError."""
    moved = aside(path, run_id)
    if not no_links.exists(
        moved
    ):  # else a kill came between the two steps, and the second is still to be done
        if not is_still(path, noted):
            return False
        try:
            no_links.replace(
                path, moved
            )  # first, so that nothing is put in its place between the look and the end
        except FileNotFoundError:
            return False
    if is_still(moved, noted):
        before(moved)
        no_links.unlink(moved)
        return True
    with suppress(FileExistsError):
        no_links.link(moved, path)
    no_links.unlink(moved)
    return False


LARGEST_COPY = 64 * 1024 * 1024
"""The most bytes of an object that is copied to read its rows."""


def identity_of_copies(path: Path) -> str:
    """The size of a file that goes to an object store, or was copied from there, and a hash of what is in it.

    It has to be known before the object is seen, so no tag of the store will do.
    """
    size = os.stat(path).st_size
    if size > LARGEST_COPY:
        return f"{size}-0"  # its rows are never read
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{size}-{int(digest[:15], 16)}"
