"""Starts Python processes that must end with the process that starts them, even while stopped (Linux)."""

import os
import signal
import sys
from pathlib import Path

_HOME = str(Path(__file__).resolve().parents[2])


def command(program: str) -> list[str]:
    """Return the command that starts a program from its text.

    The program ties itself to this process before its imports, which take a while.
    """
    tie = f"from lume_local._shared.interpreter import end_with; end_with({os.getpid()})"
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {_HOME!r}); {tie}; {program}"]


_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process once `parent`, which started it, is gone.

    On other systems a stopped worker ends when it is continued and finds its stdin closed.
    """
    if sys.platform != "linux":
        return
    import ctypes  # here: only the processes that are started need it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(1)
