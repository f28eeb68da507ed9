"""Advisory file locks: one server per data folder, and one worker per run folder. POSIX.

A lock's file identifies its process: an ID alone may have been reused, and means nothing in another container or
machine.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from attrs import asdict, frozen


@frozen
class Process:
    """One process.

    Attributes:
        boot: identifies the machine since its last start.
        namespace: the namespace of the ID; empty if a system has only one.
        started: when it was started, by the system's own count.
    """

    pid: int
    host: str
    boot: str
    namespace: str
    started: str

    @classmethod
    def of(cls, plain: Any) -> "Process | None":
        """Return the process that `plain` describes; None for anything else."""
        try:
            found = cls(**plain)
        except TypeError:
            return None
        is_one = type(found.pid) is int and found.pid > 0 and bool(found.boot) and bool(found.started)
        return found if is_one else None

    def __str__(self) -> str:
        where = "" if self.is_known_here else f" of the system {self.host}"
        return f"process {self.pid}{where}"

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def is_known_here(self) -> bool:
        """Whether its ID is valid on this machine and in this namespace."""
        return bool(self.boot) and (self.host, self.boot, self.namespace) == surroundings()

    @property
    def lives(self) -> bool:
        """Return whether it is proven to be a process of this system that has not ended."""
        return self.is_known_here and _started(self.pid) == self.started

    def kill(self) -> None:
        """Kill it, but not another process that has got its ID since."""
        if not hasattr(os, "pidfd_open"):
            if self.lives:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            return
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.lives:  # then the handle, which was opened before, belongs to that process
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def this_process() -> Process | None:
    """Return the calling process; None if the system does not report enough to identify it."""
    return _identified(os.getpid())


@cache
def _identified(pid: int) -> Process | None:
    host, boot, namespace = surroundings()
    started = _started(pid)
    return Process(pid, host, boot, namespace, started) if boot and started else None


def surroundings() -> tuple[str, str, str]:
    """Return host, boot and namespace of this process."""
    if sys.platform != "linux":
        return socket.gethostname(), _said("sysctl", "-n", "kern.boottime"), ""
    try:
        if os.readlink("/proc/self") == str(os.getpid()):  # else it is the `/proc` of another namespace
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return socket.gethostname(), boot, os.readlink("/proc/self/ns/pid")
    except OSError:
        pass
    return socket.gethostname(), "", ""


def _started(pid: int) -> str:
    """Return when a process was started; empty if there is none, or the system does not report it."""
    if sys.platform != "linux":
        return _said("ps", "-o", "lstart=", "-p", str(pid))
    try:
        # The name, in brackets, may contain anything; a zombie has ended.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]


def _said(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


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
    try:
        return Process.of(orjson.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None


def holder_died(path: Path) -> bool:
    """Return whether the process that took a lock is known to be dead.

    A lock can outlive its process: a child that it was starting has a copy until its `exec`.
    """
    found = holder(path)
    return found is not None and found.is_known_here and not found.lives
