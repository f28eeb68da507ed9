"""Running `lume` as a real process: in pipes, or in a terminal of a given size."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import frozen
from fork_server import ForkServer, fork_server
from running import Running, begin, running

ROOT = Path(__file__).resolve().parents[2]
TIED = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Before a command: it ends when the thread that started it does, also where the tests are killed."""
LUME = [*TIED, sys.executable, "-W", "error", "-m", "lume_cli"]
DEADLINE = 40.0
MODULE = """
import os, runpy, sys
sys.path[0] = os.getcwd()  # as `python -m` has it
runpy.run_module("lume_cli", run_name="__main__", alter_sys=True)
"""


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a fresh user, with some variables."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server")]),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **variables,
    }


@frozen
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Started:
    """A command that is under way; what it wrote so far can be waited for."""

    def __init__(self, process: subprocess.Popen[bytes] | Running) -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self._files = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        self._out, self._err = process.stdout.fileno(), process.stderr.fileno()
        self._open = set(self._files)

    @property
    def out(self) -> str:
        return self._files[self._out].decode()

    @property
    def err(self) -> str:
        return self._files[self._err].decode()

    def until(self, seen: Callable[[], bool]) -> None:
        """Read until the condition holds, which may be one of other things than the output."""
        end = time.monotonic() + DEADLINE
        while not seen():
            assert self._open, f"the command ended: {self.out!r} {self.err!r}"
            left = end - time.monotonic()
            assert left > 0, f"never seen: {self.out!r} {self.err!r}"
            self._read(min(left, 0.05))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> Done:
        """Read to the end."""
        end = time.monotonic() + DEADLINE
        while self._open and time.monotonic() < end:
            self._read(end - time.monotonic())
        assert not self._open, f"it does not end: {self.out!r} {self.err!r}"
        return Done(self.process.wait(DEADLINE), self.out, self.err)

    def _read(self, timeout: float) -> None:
        ready, _, _ = select.select(list(self._open), [], [], timeout)
        for number in ready:
            if chunk := os.read(number, 65536):
                self._files[number] += chunk
            else:
                self._open.discard(number)


def lume_server() -> ForkServer:
    """For `lume` without the half second of its imports; tests to which these matter begin `LUME`."""
    client = ("lume_cli._app", "lume_cli._session", "lume_async._client", "rich.console", "rich.table")
    return fork_server(*client, "lume_local._serve.serve", "cli.children", flags=("-W", "error"))


class Shell:
    """Starts `lume` in a folder with an environment, and ends what a test leaves behind."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables
        self._started: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            process.close()

    def start(self, *args: str, stdin: int = subprocess.DEVNULL, **variables: str) -> Started:
        """Begin `lume ...` with pipes for its streams."""
        env = self.variables | variables
        with open(os.devnull) as nothing:
            its = nothing.fileno() if stdin == subprocess.DEVNULL else stdin
            process = begin(lume_server(), MODULE, args, folder=self.folder, env=env, stdin=its)
        self._started.append(process)
        return Started(process)

    def lume(self, *args: str, stdin: str = "", **variables: str) -> Done:
        """Run `lume ...` to its end."""
        env = self.variables | variables
        server = lume_server()
        with running(server, MODULE, args, folder=self.folder, env=env, stdin=stdin.encode()) as program:
            return Done(*program.communicate(DEADLINE))

    def screen(self, *args: str, width: int = 80, height: int = 24, **variables: str) -> Done:
        """Run `lume ...` to its end in a terminal; `out` is everything that was drawn."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        env, terminal = self.variables | variables, (slave, slave, slave)
        forked = lume_server().start(
            MODULE, args, folder=self.folder, env=env, streams=terminal, session=True
        )
        process = Running(forked, None, None)
        self._started.append(process)
        os.close(slave)
        drawn, end = bytearray(), time.monotonic() + DEADLINE
        try:
            while select.select([master], [], [], max(0.0, end - time.monotonic()))[0]:
                drawn += os.read(master, 65536)
        except OSError:  # the last process has let go of the terminal
            pass
        finally:
            os.close(master)
        return Done(process.wait(DEADLINE), drawn.decode().replace("\r\n", "\n"), "")
