"""What tells that a file is still the one that was written: neither a rename nor time changes it."""

import hashlib
import os
from pathlib import Path


def identity(path: Path | int) -> str:
    """The size of a file, or of one that is open, and when it was last written. Raises OSError."""
    found = os.stat(path)
    return f"{found.st_size}-{found.st_mtime_ns}"


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
