"""Servers and workers as processes of their own, without the quarter of a second in which an interpreter imports all.

A fork server, one for each process that runs tests, has imported what they need and forks for each. The process is a
child of whoever started it, as ever, and gets arguments, environment, folder and streams as a new interpreter would.
A server that was forked has a fork server of its own, for its workers. Where the beginning of a process is what
matters, tests start real ones, with the fixture `real_processes`; other systems than Linux have no others.
Programs that a test begins itself, and that need no parent, are `fork_server`'s.
"""

import ctypes
import gc
import importlib
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WORKER, SERVER, CLIENT = "lume worker", "lume server", "lume client"
"""The names of the processes (`/proc/PID/comm`): their command line is the fork server's."""
KINDS = {
    "from lume_local._shards.main import main": WORKER,
    "from lume_local._worker import main": WORKER,
    "lume_local.serve(": SERVER,
    "# may be forked": CLIENT,
}
"""The `python -c` whose program contains such words is forked."""
IMPORTED = (
    "lume_local._shards.main",
    "lume_local._serve",
    "lume_async._client",
    "boto3.session",
    "obstore.store",
    "psycopg",
)
_LARGEST = 200_000
_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36


class _Order(NamedTuple):
    program: str
    args: list[str]
    kind: str
    folder: str
    environment: dict[str, str]
    new_session: bool


class ForkServer:
    """Forks for each order, in place of every `subprocess.Popen` of this process that begins such a program.

    Args:
        ours: an end of the socket of a fork server that is there; else one is begun when it is needed first.
    """

    def __init__(self, ours: socket.socket | None = None) -> None:
        self._socket, self._process = ours, None
        self._owner, self._lock = os.getpid(), threading.Lock()
        self._are_real = False

    @contextmanager
    def real(self) -> Iterator[None]:
        """As long as the block lasts, every process is begun by an interpreter of its own."""
        self._are_real = True
        try:
            yield
        finally:
            self._are_real = False

    def takes(self, asked: dict[str, Any]) -> _Order | None:
        """What to fork for the arguments of `Popen._execute_child`; None where the process is to be real."""
        is_mine = os.getpid() == self._owner  # not that of a process that was forked from this one
        return _order_of(asked) if is_mine and not self._are_real and sys.platform == "linux" else None

    def fork(self, order: _Order, streams: list[int]) -> int:
        """The id of the new process, a child of this one."""
        with self._lock:
            if self._socket is None:
                self._begin()
            # Its parent ends at once: then it is given to the next process above that wants such children.
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(self._socket, [json.dumps(order).encode()], streams)
                answer = self._socket.recv(100)
            finally:
                _prctl(_PR_SET_CHILD_SUBREAPER, 0)
        if not answer:
            raise ChildProcessError("the fork server of the tests is gone")
        return int(answer)

    def _begin(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the tests
            )

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.wait()


def _prctl(option: int, value: Any) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def use(server: ForkServer) -> Callable[[], None]:
    """Have it begin the processes of this one; gives what ends that."""
    original = subprocess.Popen._execute_child  # type: ignore[attr-defined]
    signature = inspect.signature(original)

    def execute_child(popen: Any, *given: Any) -> None:
        asked = signature.bind(popen, *given).arguments
        order = server.takes(asked)
        if order is None:
            original(popen, *given)
            return
        streams = (asked["p2cread"], asked["c2pwrite"], asked["errwrite"])
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        try:
            popen.pid = server.fork(order, [number if fd == -1 else fd for number, fd in enumerate(streams)])
            popen._child_created = True
        finally:
            popen._close_pipe_fds(*(asked[name] for name in pipes))

    def end() -> None:
        subprocess.Popen._execute_child = original  # type: ignore[attr-defined]

    subprocess.Popen._execute_child = execute_child  # type: ignore[attr-defined]
    return end


def _order_of(asked: dict[str, Any]) -> _Order | None:
    """What to fork for a Popen; None where it is to be real."""
    args = asked["args"]
    if isinstance(args, str | bytes | os.PathLike) or list(args[:2]) != [sys.executable, "-c"]:
        return None
    kind = next((kind for words, kind in KINDS.items() if words in args[2]), None)
    environment = asked["env"] if asked["env"] is not None else dict(os.environ)
    if kind is None or asked["preexec_fn"] or asked["pass_fds"] or "LD_PRELOAD" in environment:
        return None
    folder = os.fspath(asked["cwd"] or os.getcwd())
    return _Order(args[2], list(args[3:]), kind, folder, dict(environment), asked["start_new_session"])


def _serve(orders: socket.socket) -> _Order:
    """Return once for each order, in a new process."""
    while True:
        message, streams, _, _ = socket.recv_fds(orders, _LARGEST, 3)
        if not message:
            os._exit(0)
        read, write = os.pipe()
        between = os.fork()
        if not between:
            between, process = os.getpid(), os.fork()
            if not process:
                break
            os.write(write, str(process).encode())
            os._exit(0)
        os.waitpid(between, 0)  # from now on the new process is the child of whoever asked
        orders.send(os.read(read, 100))
        for number in (read, write, *streams):
            os.close(number)
    orders.close()
    for number in (read, write):
        os.close(number)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    while os.getppid() == between:
        time.sleep(0.001)
    return _Order(*json.loads(message))


def _become(order: _Order) -> None:
    _prctl(_PR_SET_NAME, order.kind.encode())
    if order.new_session:
        os.setsid()
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    time.tzset()
    sys.argv[:] = ["-c", *order.args]
    sys.path[0] = ""  # as `python -c` has it


def _main(orders: socket.socket) -> None:
    for name in IMPORTED:
        with suppress(ModuleNotFoundError):  # Airflow's environment has no object stores
            importlib.import_module(name)
    gc.freeze()  # a collection in a fork would copy every page
    while True:
        order = _serve(orders)
        if order.kind == SERVER:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            if os.fork() == 0:
                ours.close()
                os.setsid()
                nothing = os.open(os.devnull, os.O_RDWR)
                for number in range(3):
                    os.dup2(nothing, number)
                os.close(nothing)
                orders = theirs
                continue
            theirs.close()
            use(ForkServer(ours))
        _become(order)
        exec(compile(order.program, "<string>", "exec"), {"__name__": "__main__"})
        return


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])))
