"""Advisory file locks: one server per data folder, and one worker per run folder. POSIX."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locked(Exception):
    """Somebody else holds the lock."""


@contextmanager
def held(path: Path, *, make: bool = True) -> Iterator[None]:
    """Hold a lock; it also ends with the process. Raises `Locked` at once where somebody else holds it.

    `make` makes the file where it isn't there, and leaves this process's id in it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(str(path)) from None
        if make:
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> int | None:
    """The id of the process that holds a lock, as far as the file tells."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def holder_died(path: Path) -> bool:
    """Whether the process that took a lock is known to be dead.

    A lock outlives it: a process that it was starting has a copy until its `exec`.
    """
    pid = holder(path)
    return pid is not None and not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
