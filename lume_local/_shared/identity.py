"""What tells that a file is still the one that was written: neither a rename nor time changes it."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def identity(path: Path | int) -> str:
    """The size of a file, or of one that is open, and when it was last written. Raises OSError."""
    found = os.stat(path)
    return f"{found.st_size}-{found.st_mtime_ns}"


def is_still(path: Path, noted: str) -> bool:
    """Whether the file is the one that was noted. Raises OSError."""
    try:
        return identity(path) == noted
    except FileNotFoundError:
        return False


def aside(path: Path, run_id: str) -> Path:
    """Where a file is while it is removed."""
    return path.with_name(f".{path.name}.{run_id}.old")


def remove_if(
    path: Path, noted: str, run_id: str, before: Callable[[Path], None] = lambda moved: None
) -> bool:
    """Remove the file if it is the one that was noted; `before` sees it for the last time. Raises OSError."""
    moved = aside(path, run_id)
    if not moved.exists():  # else a kill came between the two steps, and the second is still to be done
        if not is_still(path, noted):
            return False
        try:
            path.rename(moved)  # first, so that nothing is put in its place between the look and the end
        except FileNotFoundError:
            return False
    if is_still(moved, noted):
        before(moved)
        moved.unlink()
        return True
    with suppress(FileExistsError):
        path.hardlink_to(moved)
    moved.unlink()
    return False


LARGEST_COPY = 64 * 1024 * 1024
"""Bytes of an object of which a copy is made to read its rows."""


def identity_of_copies(path: Path) -> str:
    """The size of a file that goes to an object store, or was copied from there, and a hash of what is in it.

    It has to be known before the object is seen, so no tag of the store will do.
    """
    size = os.stat(path).st_size
    if size > LARGEST_COPY:
        return f"{size}-0"  # nobody reads its rows
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{size}-{int(digest[:15], 16)}"
