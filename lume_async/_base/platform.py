"""The abilities of this platform. No other module asks for its name.

Windows has no forks, its signals don't interrupt a wait for a lock, and it can't replace a file that is open.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence

IS_POSIX = hasattr(os, "fork")
"""Whether this is Linux, macOS or the like, not Windows."""

BINARY: int = getattr(os, "O_BINARY", 0)
"""A flag for `os.open` that keeps Windows from changing line ends."""

_PATIENCE = 1.0
"""Seconds to wait until a file can be replaced: virus scanners and indexers open new files for a moment."""
_NAP = 0.05


def at_fork(**functions: Callable[[], object]) -> None:
    """Register functions as `os.register_at_fork` does, if there are forks."""
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        register(**functions)


def replace(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Replace a file like `os.replace`, with several attempts on Windows. Raises `OSError`."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if IS_POSIX or time.monotonic() >= deadline:
                raise
        time.sleep(_NAP)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Return whether a process holds an advisory lock on a file; false if there is no file. Raises `OSError`.

    Any number of processes may ask at once.
    """
    if sys.platform == "win32":  # not `IS_POSIX`: type checkers know this name
        raise OSError("Windows has no advisory locks")
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def is_own(about: os.stat_result) -> bool:
    """Return whether a file belongs to the user of this process; never on Windows, which does not report it."""
    getuid = getattr(os, "getuid", None)
    return getuid is not None and about.st_uid == getuid()


def command_line(words: Sequence[str]) -> str:
    """Quote the words for a shell; on Windows for PowerShell and cmd.exe, where single quotes are letters."""
    if IS_POSIX:
        import shlex

        return shlex.join(words)
    import subprocess

    return subprocess.list2cmdline(words)
