"""Advisory file locks: one server per data folder, and one worker per run folder. POSIX."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from lume_local._shared.process import Process, this_process


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock; it also ends with the process. Raises `Locked` at once if another process holds it.

    The file, which is created if it is missing, gets the identity of this process.
    """
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(str(path)) from None
        os.ftruncate(handle, 0)
        process = this_process()
        os.write(handle, orjson.dumps(process.plain() if process else {}))
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> Process | None:
    """Return the process that took a lock, if the file identifies it for certain."""
    return Process.of(_content(path))


def _content(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def holder_died(path: Path) -> bool:
    """Return whether the process that took a lock is known to be dead.

    A lock can outlive its process: a child that it was starting has a copy until its `exec`.
    """
    found = holder(path)
    return found is not None and found.is_known_here and not found.lives
