"""Programs in processes of their own, without the third of a second in which a new interpreter imports everything.

A server has imported it all and forks for each program. What the program gets is as in a new process: arguments,
environment, folder, streams, `__main__`, the end of an interpreter. Where the import itself or the start of a process
is what matters, or what only a new process obeys (`LD_PRELOAD`, a terminal), tests start a real one.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIED = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Before a command: it ends when the thread that started it does, also where the tests are killed."""
LARGEST = 131_072
"""Bytes of a job."""
PR_SET_PDEATHSIG = 1


class Forked:
    """A program that a server has forked."""

    def __init__(self, ended: socket.socket) -> None:
        self.ended = ended
        """Says the exit code at the end. Until this is closed, no other process gets the `pid`."""
        said = ended.recv(32)
        if not said:
            ended.close()
            raise ChildProcessError(
                "the fork server of the tests is gone: what it has written to stderr says why"
            )
        self.pid = int(said)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Forks a process for each program that it is given.

    Args:
        imported: modules that are there already.
        hidden: modules that can't be imported, as if they were not installed.
        flags: of Python.
        within: a command that begins the server.
    """

    def __init__(
        self,
        *imported: str,
        hidden: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        within: tuple[str, ...] = (),
    ) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST)
        begin = f"import fork_server; fork_server.main({theirs.fileno()}, {imported}, {hidden})"
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        with theirs:
            self._process = subprocess.Popen(
                [*within, *TIED, sys.executable, *flags, "-c", begin],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fileno(self) -> int:
        """For programs that ask it themselves."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
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
    ) -> Forked:
        """Begin `python -c SOURCE ARGS`, in a `session` of its own; the three streams are the caller's to close."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        job = json.dumps([source, args, str(folder or Path.cwd()), dict(env), session]).encode()
        with theirs:
            socket.send_fds(self._socket, [job], [theirs.fileno(), *streams])
        return Forked(ours)


@functools.cache
def fork_server(*imported: str, hidden: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> ForkServer:
    """The one that all tests of this process share. What it is tied to is the life of the thread that begins it."""
    server = ForkServer(*imported, hidden=hidden, flags=flags)
    atexit.register(server.close)
    return server


def main(number: int, imported: tuple[str, ...], hidden: tuple[str, ...]) -> None:
    """Return never in the server; in each program with its end."""
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    for name in imported:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each program copies nearly all memory when it looks for garbage at its end
    source, args, folder, env, session = _next_job(socket.socket(fileno=number))
    if session:
        os.setsid()
    # As Python makes it for what is behind it now: the server's own is that of a file.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = args
    # Not frozen: what a program leaves behind is found at its end.
    sys.modules["__main__"] = program = types.ModuleType("__main__")
    exec(compile(source, "<string>", "exec"), vars(program))


def _next_job(jobs: socket.socket) -> tuple[str, list[str], str, dict[str, str], bool]:
    """Return once for each job, in a new process with its streams."""
    while True:
        job, numbers, _, _ = socket.recv_fds(jobs, LARGEST, 4)
        _bury()
        if not job:
            sys.exit()
        if os.fork() == 0:
            break
        for number in numbers:
            os.close(number)
    jobs.close()
    _watched(numbers[0], numbers[1:])
    for number, stream in enumerate(numbers[1:]):
        os.dup2(stream, number)
        os.close(stream)
    source, args, folder, env, session = json.loads(job)
    return source, args, folder, env, session


def _watched(ended: int, streams: list[int]) -> None:
    """Go on in a child; this process says how it ended, and buries it only once nobody needs its id any more."""
    _end_with_parent()
    if (program := os.fork()) == 0:
        os.close(ended)
        _end_with_parent()
        return
    for number in (0, 1, 2, *streams):
        os.close(number)
    with socket.socket(fileno=ended) as caller:
        caller.send(str(program).encode())
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


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
