"""Advisory file locks: one server per data folder, and one worker per run folder. POSIX."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from lume_local._shared.process import Process, this_process


class Locked(Exception):
    """Another process holds the lock."""


@contextmanager
def held(path: Path, *, make: bool = True) -> Iterator[None]:
    """Hold a lock; it also ends with the process. Raises `Locked` at once if another process holds it.

    `make` creates the file if it is missing, and writes the identity of this process into it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(str(path)) from None
        if make:
            os.ftruncate(handle, 0)
            process = this_process()
            os.write(handle, orjson.dumps(process.plain() if process else {}))
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a process holds a lock; false if there is no file."""
    try:
        with held(path, make=False):
            return False
    except FileNotFoundError:
        return False
    except Locked:
        return True


def holder(path: Path) -> Process | None:
    """The process that took a lock, if the file identifies it for certain."""
    try:
        return Process.of(orjson.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def holder_died(path: Path) -> bool:
    """Whether the process that took a lock is known to be dead.

    A lock outlives it: a process that it was starting has a copy until its `exec`.
    """
    found = holder(path)
    return found is not None and found.is_known_here and not found.lives
