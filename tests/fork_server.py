"""Programs in processes of their own, without the third of a second in which a new interpreter imports everything.

A server has imported it all and forks for each program. What the program gets is as in a new process: arguments,
environment, folder, streams, `__main__`, the end of an interpreter. Where the import itself or the start of a process
is what matters, or what only a new process obeys (`LD_PRELOAD`, a terminal), tests start a real one.
Beside this: `running` has its programs for tests that block, `forked` for those of asyncio.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 131_072
"""Bytes of a job."""
PR_SET_PDEATHSIG = 1


class Forked:
    """A program that a server has forked."""

    def __init__(self, ended: socket.socket) -> None:
        self.ended = ended
        """Says the exit code at the end. Until this is closed, no other process gets the `pid`."""
        said = ended.recv(32)
        if not said.startswith(b"pid "):
            ended.close()
            raise ChildProcessError(
                "the fork server of the tests is gone: what it has written to stderr says why"
            )
        self.pid = int(said[4:])

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Forks a process for each program that it is given. It ends with the socket of its jobs, if not before."""

    def __init__(self, jobs: socket.socket, process: "subprocess.Popen[bytes] | None" = None) -> None:
        self._socket, self._process = jobs, process
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST)

    def fileno(self) -> int:
        """For programs that ask it themselves."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        if self._process is not None:
            self._process.wait()

    def start(
        self,
        source: str,
        args: tuple[str, ...] = (),
        *,
        folder: Path | None = None,
        env: Mapping[str, str],
        streams: tuple[int, int, int],
        session: bool = False,
        name: str = "",
    ) -> Forked:
        """Begin `python -c SOURCE ARGS`, in a `session` of its own; the three streams are the caller's to close.

        Its command line is the server's; Linux shows the `name` in `/proc/PID/comm`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        job = json.dumps([source, args, str(folder or Path.cwd()), dict(env), session, name]).encode()
        with theirs:
            socket.send_fds(self._socket, [job], [theirs.fileno(), *streams])
        return Forked(ours)


def new(
    *imported: str, hidden: tuple[str, ...] = (), flags: tuple[str, ...] = (), within: tuple[str, ...] = ()
) -> ForkServer:
    """Begin a server.

    Args:
        imported: modules that are there already.
        hidden: modules that can't be imported, as if they were not installed.
        flags: of Python.
        within: a command that begins the server.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    begin = f"import fork_server; fork_server.main({theirs.fileno()}, {imported}, {hidden})"
    paths = os.pathsep.join(
        str(ROOT / name) for name in (".", "server", "tests", "tests/repository", "server/tests")
    )
    with theirs:
        process = subprocess.Popen(
            [*within, sys.executable, *flags, "-c", begin],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the tests
        )
    return ForkServer(ours, process)


@functools.cache
def fork_server(*imported: str, hidden: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> ForkServer:
    """The one that all tests of this process share."""
    server = new(*imported, hidden=hidden, flags=flags)
    atexit.register(server.close)
    return server


def own(*imported: str) -> ForkServer:
    """One that a program begins for processes of its own, while it has no second thread: all that it has is there.

    And what is `imported`.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ForkServer(ours)
    ours.close()
    os.setsid()
    _import(imported)
    _serve(theirs)


def main(number: int, imported: tuple[str, ...], hidden: tuple[str, ...]) -> NoReturn:
    """Import all that, and serve."""
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    _import(imported)
    _serve(socket.socket(fileno=number))


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each program copies nearly all memory when it looks for garbage at its end


def _serve(jobs: socket.socket) -> NoReturn:
    """In each program this ends with it."""
    (source, args, folder, env, session, name), caller = _next_job(jobs)
    if session:
        os.setsid()
    if name:
        Path("/proc/self/comm").write_text(name)
    # As Python makes it for what is behind it now: the server's own is that of a file.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv[1:] = args
    with caller:
        caller.send(f"pid {os.getpid()}".encode())
    # Not frozen: what a program leaves behind is found at its end.
    sys.modules["__main__"] = program = types.ModuleType("__main__")
    exec(compile(source, "<string>", "exec"), vars(program))
    sys.exit()


def _next_job(jobs: socket.socket) -> tuple[list[Any], socket.socket]:
    """Return once for each job, in a new process with its streams; and with what tells the caller that it begins."""
    while True:
        job, numbers, _, _ = socket.recv_fds(jobs, LARGEST, 4)
        _bury()
        if not job:
            sys.exit()
        if _tied_fork() == 0:
            break
        for number in numbers:
            os.close(number)
    jobs.close()
    caller = socket.socket(fileno=numbers[0])
    _watched(caller, numbers[1:])
    for number, stream in enumerate(numbers[1:]):
        os.dup2(stream, number)
        os.close(stream)
    return json.loads(job), caller


def _watched(caller: socket.socket, streams: list[int]) -> None:
    """Go on in a child; this process says how it ended, and buries it only once nobody needs its id any more."""
    if (program := _tied_fork()) == 0:
        return
    for number in (0, 1, 2, *streams):
        os.close(number)
    with caller:
        how = os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
        assert how is not None
        code = how.si_status if how.si_code == os.CLD_EXITED else -how.si_status
        with contextlib.suppress(OSError):
            caller.send(str(code).encode())
            caller.recv(1)
    os.waitpid(program, 0)
    os._exit(0)


def _bury() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _tied_fork() -> int:
    """A child that is killed when this process ends."""
    parent = os.getpid()
    child = os.fork()
    if child == 0 and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    return child
