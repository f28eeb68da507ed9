"""What identifies a written file, or the content of a source, so that a change is noticed."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from attrs import frozen

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
    # Else a kill came between the two steps, and the second is still to be done.
    if not no_links.exists(moved):
        if not is_still(path, noted):
            return False
        try:
            # First, so that nothing is put in its place between the look and the end.
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


@frozen
class SourceContent:
    """The content of a source.

    Attributes:
        bytes: how many there are, in all files.
        seen: a hash of cheap metadata: names and sizes, with times of files or tags of objects.
        digest: a hash of the content itself, the same wherever and whenever it was written; None if it would have
            cost too much.
    """

    bytes: int
    seen: str
    digest: str | None = None


def is_other(before: SourceContent, now: SourceContent) -> bool:
    """Whether a source has other content now. A file that was written again without a digest counts as changed."""
    return before.digest != now.digest if is_open(before, now) else before.seen != now.seen


def is_open(before: SourceContent, now: SourceContent) -> bool:
    """Whether only a digest of the present content decides."""
    return before.seen != now.seen and before.bytes == now.bytes and before.digest is not None


def hash_of(items: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()
