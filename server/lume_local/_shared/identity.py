"""The identity of a written file or of a source's content, by which a change is noticed."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from lume_local._shared import no_links


def identity(path: Path | int) -> str:
    """Return the size of a path or an open file, and when it was last written. Raises OSError."""
    found = os.fstat(path) if isinstance(path, int) else no_links.stat(path)
    return f"{found.st_size}-{found.st_mtime_ns}"


def is_still(path: Path, noted: str) -> bool:
    """Return whether the file still has the noted identity. Raises OSError."""
    try:
        return identity(path) == noted
    except FileNotFoundError:
        return False


def aside(path: Path, run_id: str) -> Path:
    """Return the name of a file while it is being removed."""
    return path.with_name(f".{path.name}.{run_id}.old")


def remove_if(
    path: Path, noted: str, run_id: str, before: Callable[[Path], None] = lambda moved: None
) -> bool:
    """Remove the file if it has the noted identity; `before` is called just before that. Raises OSError."""
    moved = aside(path, run_id)
    # If it exists, a kill came between the two steps, and the second is still to be done.
    if not no_links.exists(moved):
        if not is_still(path, noted):
            return False
        try:
            # Moved before it is checked again, so that nothing can take its place between check and removal.
            no_links.replace(path, moved)
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
"""The maximum size of an object that is copied to read its rows, in bytes."""


def identity_of_copies(path: Path) -> str:
    """Return the size and a content hash of a file that goes to an object store, or was copied from there.

    The store's tag won't do: the identity has to be known before the object exists.
    """
    size = os.stat(path).st_size
    if size > LARGEST_COPY:
        return f"{size}-0"  # its rows are never read
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{size}-{int(digest[:15], 16)}"


@frozen
class SourceContent:
    """The content of a source.

    Attributes:
        bytes: the size of all files together.
        seen: a hash of cheap metadata: names and sizes, with times of files or tags of objects.
        digest: a hash of the content itself, the same wherever and whenever it was written; None if too expensive.
    """

    bytes: int
    seen: str
    digest: str | None = None


def is_other(before: SourceContent, now: SourceContent) -> bool:
    """Return whether a source has changed. A file that was rewritten counts as changed if it has no digest."""
    return before.digest != now.digest if is_open(before, now) else before.seen != now.seen


def is_open(before: SourceContent, now: SourceContent) -> bool:
    """Return whether only a digest of the current content can decide."""
    return before.seen != now.seen and before.bytes == now.bytes and before.digest is not None


def hash_of(items: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()
