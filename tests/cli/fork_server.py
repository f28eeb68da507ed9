"""`lume` as a process of its own, without the half second in which a new interpreter imports everything.

A server, one for each process that runs tests, has imported it all and forks for each command. What the command gets
is as in a new process: arguments, environment, folder, streams, exit code. Where the process itself is what matters
(signals, a terminal), tests start a real one: see `Shell.start` and `Shell.screen`.
"""

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = ("lume_cli._app", "lume_cli._session", "lume_async._client", "rich.console", "rich.table")
LARGEST = 65_536
"""Bytes of a job, and of a command's stdin: a pipe takes so many at once."""


class ForkServer:
    """Forks a process for each command line that it is given."""

    def __init__(self, *tied: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*tied, sys.executable, "-W", "error", __file__, str(theirs.fileno())],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def close(self) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self, args: tuple[str, ...], folder: Path, env: dict[str, str], stdin: bytes, timeout: float
    ) -> tuple[int, bytes, bytes]:
        """The exit code of `lume ARGS`, and what it wrote."""
        ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)  # its exit code, stdout and stderr
        read, write = os.pipe()
        assert len(stdin) < LARGEST
        os.write(write, stdin)
        os.close(write)
        job = json.dumps([args, str(folder), env]).encode()
        socket.send_fds(self._socket, [job], [theirs[0], read, *theirs[1:]])
        for number in (read, *theirs):
            os.close(number)
        code, out, err = _all_of(ours, time.monotonic() + timeout)
        return int(code), out, err


def _all_of(pipes: tuple[int, ...], deadline: float) -> list[bytes]:
    """What comes out of each pipe up to its end."""
    got = {number: bytearray() for number in pipes}
    with selectors.DefaultSelector() as selector:
        for number in pipes:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            assert ready, f"it does not end: {got}"
            for key, _ in ready:
                if chunk := os.read(key.fd, 65_536):
                    got[key.fd] += chunk
                else:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [bytes(each) for each in got.values()]


def _serve(jobs: socket.socket) -> None:
    """Return once for each job, in a new process."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        job, (code, *streams), _, _ = socket.recv_fds(jobs, LARGEST, 4)
        if not job:
            sys.exit()
        if os.fork() == 0:
            break
        for number in (code, *streams):
            os.close(number)
    jobs.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if command := os.fork():  # this one waits for the command, and says how it ended
        for number in streams:
            os.close(number)
        _, status = os.waitpid(command, 0)
        os.write(code, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.close(code)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    args, folder, env = json.loads(job)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = args
    sys.path[0] = folder  # as `python -m` has it


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("lume_cli", run_name="__main__", alter_sys=True)
