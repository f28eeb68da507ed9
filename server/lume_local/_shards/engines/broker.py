"""The process that holds a server's one connection to a cluster, and the client that runs use to reach it.

A Spark driver or a Ray client for each run would take seconds and hundreds of megabytes, and a second driver waits
for the cores of the first. Runs submit their tasks through a socket (`Brokered`): each call of `map` is a
connection that carries JSON lines in both directions. Closing it cancels its tasks.

The server writes one line to stdin, `{"url": …, "socket": …, "probe": …}`, and reads one line: `{"slots": 8}` or
`{"error": "…"}`. The process ends when stdin ends or the cluster is lost; the server then starts another one.
"""

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import orjson

from lume_local._shards.coordinator import other_versions, versions
from lume_local._shards.executor import (
    TICK,
    Executor,
    ExecutorLost,
    Function,
    Json,
    Pause,
    executor_of,
    function_of,
    job_of,
    shown,
)
from lume_local._shared.failing import on_error
from lume_local._worker.shards.tasks import Made

_MOST = 64
"""Probe tasks: on a large cluster, the other workers are checked with their first real task."""


def probe(argument: Json) -> Json:
    """Return, on a worker, its identity, its versions and the content of the file at `path`."""
    found: Json = {"where": f"{socket.gethostname()} (process {os.getpid()})", "has": versions(), "read": ""}
    if argument["path"] is not None:
        try:
            found["read"] = Path(argument["path"]).read_text()
        except OSError as error:
            found["why"] = error.strerror or str(error)
    return found


def check_workers(executor: Executor, url: str, path: str) -> None:
    """Check that workers can read a file that the server has written. Raises `ExecutorLost`."""
    wanted = Path(path).read_text()
    arguments = [{"path": path}] * min(executor.slots, _MOST)
    for found in executor.map(probe, arguments, lambda: None):
        if found["has"] != versions():
            raise ExecutorLost(f"the engine {shown(url)}: {other_versions(found)}")
        if found["read"] != wanted:
            why = found.get("why", "another file is there")
            raise ExecutorLost(
                f"the engine {shown(url)}: the worker {found['where']} can't read {path} ({why}): the work folder "
                "and the sources must lie on storage that all workers have at the same path"
            )


HEARTBEAT = 5.0
"""Seconds after which an idle caller receives a heartbeat."""
_PING = 20.0
"""Seconds that a small task may take after a failure before the cluster counts as lost."""


class _Gone(Exception):
    """The caller has hung up, or its time is up."""


def main() -> None:
    """Serve until stdin ends or the cluster is lost."""
    # Answers need the real stdout; anything an engine prints goes to stderr.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    order = orjson.loads(sys.stdin.buffer.readline())

    def end_with_the_server() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_the_server, name="leash", daemon=True).start()
    try:
        with executor_of(order["url"]) as executor:
            check_workers(executor, order["url"], order["probe"])
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(order["socket"])
                listener.listen(64)
                out.write(orjson.dumps({"slots": executor.slots}) + b"\n")
                while True:
                    call = listener.accept()[0], executor
                    threading.Thread(target=_answer, args=call, name="call", daemon=True).start()
    except ExecutorLost as error:
        out.write(orjson.dumps({"error": str(error)}) + b"\n")


def _answer(connection: socket.socket, executor: Executor) -> None:
    with connection, connection.makefile("rb") as lines:
        caller = _Caller(connection)
        try:
            order = orjson.loads(lines.readline() or b"{}")
            if "function" not in order:
                return caller.say({"slots": executor.slots})
            # Lazily: raw lines take less memory than parsed ones.
            count = order["count"]
            told = [lines.readline() for _ in range(count)]
            if not all(line.endswith(b"\n") for line in told):
                raise _Gone
            arguments = Made(count, lambda number: orjson.loads(told[number]))
            with closing(executor.map(function_of(order["function"]), arguments, caller.pause)) as results:
                for result in results:
                    caller.say({"result": result})
        except (_Gone, OSError):
            return
        except ExecutorLost as error:
            caller.say({"lost": str(error)})
            _see_whether_it_is_there(executor)


class _Caller:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._said = time.monotonic()

    def say(self, answer: Json) -> None:
        """Send a line. Raises OSError if the caller is gone."""
        self._connection.sendall(orjson.dumps(answer) + b"\n")
        self._said = time.monotonic()

    def pause(self) -> None:
        """Raise `_Gone` once the caller has hung up."""
        if select.select([self._connection], [], [], 0)[0]:
            raise _Gone
        if time.monotonic() > self._said + HEARTBEAT:
            self.say({})


def _see_whether_it_is_there(executor: Executor) -> None:
    """Exit if not even a small task works: then the cluster is lost, not just the task at fault."""
    limit = time.monotonic() + _PING

    def pause() -> None:
        if time.monotonic() > limit:
            raise _Gone

    try:
        list(executor.map(probe, [{"path": None}], pause))
    except (ExecutorLost, _Gone):
        os._exit(1)


SILENCE = 60.0
"""Seconds of silence after which the broker counts as stuck."""
_PATIENCE = 30.0
"""Seconds in which the server may restart its broker."""
_READ = 1024 * 1024


class Brokered:
    """See `Executor`."""

    def __init__(self, url: str) -> None:
        self._path = urlsplit(url).path
        self.slots = 1

    def __enter__(self) -> Self:
        limit = time.monotonic() + _PATIENCE
        while True:
            try:
                with _connected(self._path) as connection, connection.makefile("rb") as lines:
                    connection.sendall(b"{}\n")
                    self.slots = orjson.loads(lines.readline())["slots"]
                    return self
            except (OSError, ValueError) as error:
                if time.monotonic() > limit:
                    raise ExecutorLost("the server has lost its engine, see its /healthz") from error
                time.sleep(TICK)

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Generator[Json]:
        """See `Executor`. Closing the connection cancels the tasks."""
        if not arguments:
            return
        order = job_of(function, {}) | {"count": len(arguments)}
        try:
            with _connected(self._path) as connection:
                connection.sendall(orjson.dumps(order) + b"\n")
                for argument in arguments:
                    pause()
                    connection.sendall(orjson.dumps(argument) + b"\n")
                left = len(arguments)
                for answer in _answers(connection, pause):
                    if "lost" in answer:
                        raise ExecutorLost(answer["lost"])
                    if "result" in answer:
                        yield answer["result"]
                        left -= 1
                    if not left:
                        return
        except OSError as error:
            raise ExecutorLost(f"the server has lost its engine: {error.strerror or error}") from error
        raise ExecutorLost("the server has lost its engine: its connection has ended")


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    with on_error(connection.close):
        connection.settimeout(_PATIENCE)
        connection.connect(path)
    return connection


def _answers(connection: socket.socket, pause: Pause) -> Generator[Json]:
    """Yield the broker's answers until it hangs up."""
    rest, heard = b"", time.monotonic()
    while True:
        pause()
        if not select.select([connection], [], [], TICK)[0]:
            if time.monotonic() > heard + SILENCE:
                raise ExecutorLost(f"the process with the server's engine was silent for {SILENCE:g} s")
            continue
        block, heard = connection.recv(_READ), time.monotonic()
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        yield from (orjson.loads(line) for line in lines)
