"""Notices that a file was saved, for files that people edit. Not only on POSIX systems."""

import os
from pathlib import Path


def stamp(path: Path) -> tuple[int, ...] | None:
    """Changes with a file and its permissions, for files that people edit; None while it is missing, as in a save."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
