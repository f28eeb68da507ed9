"""A worker ends with its server, also where it can't notice that itself: stopped, it reads no leash. Linux."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process once `parent`, the one that has started it, is gone.

    Elsewhere than on Linux only the leash ends a worker: one that is stopped ends when it is continued.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the kernel knew what to do then
        os._exit(1)
