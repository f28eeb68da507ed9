"""The process in which a server keeps its one connection to a cluster, for all of its runs.

A Spark driver or a Ray client for each run would take seconds and hundreds of megabytes, and a second driver waits
for the cores of the first. Runs have their tasks done by way of a socket (see `brokered`): each call of `map` is a
connection, on which JSON lines go to and fro; where it is closed, its tasks are cancelled.

The server says on stdin what it wants, in one line: `{"url": …, "socket": …, "probe": …}`, and reads one line:
`{"slots": 8}` or `{"error": "…"}`. The end of stdin ends the process, and so does the loss of the cluster: then the
server starts another one.
"""

import importlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, BinaryIO

import orjson

from lume_local._shards.engines.executors import executor_of
from lume_local._shards.engines.probe import check_workers, probe
from lume_local._shards.executor import Executor, ExecutorLost, Json, Made

HEARTBEAT = 5.0
"""Seconds after which a caller hears something, though nothing has happened."""
_PING = 20.0
"""Seconds that a small task may take after another one failed, before the cluster is taken for lost."""


class _Gone(Exception):
    """The caller has hung up, or time is up."""


def main() -> None:
    """Serve until stdin ends or the cluster is lost."""
    # The answer keeps the real stdout; whatever an engine prints goes to stderr.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    order = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_read, name="leash", daemon=True).start()
    try:
        with executor_of(order["url"]) as executor:
            check_workers(executor, order["url"], order["probe"])
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(order["socket"])
                listener.listen(64)
                out.write(orjson.dumps({"slots": executor.slots}) + b"\n")
                _serve(listener, executor)
    except ExecutorLost as error:
        out.write(orjson.dumps({"error": str(error)}) + b"\n")


def _read() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # without a leash there is no broker


def _serve(listener: socket.socket, executor: Executor) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection, executor), name="call", daemon=True).start()


def _answer(connection: socket.socket, executor: Executor) -> None:
    with connection, connection.makefile("rb") as lines:
        caller = _Caller(connection)
        try:
            order = orjson.loads(lines.readline() or b"{}")
            if "function" not in order:
                return caller.say({"slots": executor.slots})
            _carry_out(order, _arguments(lines, order["count"]), executor, caller)
        except (_Gone, OSError):
            return
        except ExecutorLost as error:
            caller.say({"lost": str(error)})
            _see_whether_it_is_there(executor)


def _arguments(lines: BinaryIO, count: int) -> Made:
    """A line for each: they take less room so than read."""
    told = [lines.readline() for _ in range(count)]
    if not all(line.endswith(b"\n") for line in told):
        raise _Gone
    return Made(count, lambda number: orjson.loads(told[number]))


def _carry_out(order: Json, arguments: Sequence[Json], executor: Executor, caller: "_Caller") -> None:
    module, _, name = order["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    results: Any = executor.map(function, arguments, caller.pause)
    with closing(results):
        for result in results:
            caller.say({"result": result})


class _Caller:
    """Whoever has called."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._said = time.monotonic()

    def say(self, answer: Json) -> None:
        """Send a line. Raises OSError where nobody is there."""
        self._connection.sendall(orjson.dumps(answer) + b"\n")
        self._said = time.monotonic()

    def pause(self) -> None:
        """Raises `_Gone` once the caller has hung up."""
        if select.select([self._connection], [], [], 0)[0]:
            raise _Gone
        if time.monotonic() > self._said + HEARTBEAT:
            self.say({})


def _see_whether_it_is_there(executor: Executor) -> None:
    """A task may be at fault where one was lost; where not even a small one can be done, the cluster is."""
    limit = time.monotonic() + _PING

    def pause() -> None:
        if time.monotonic() > limit:
            raise _Gone

    try:
        list(executor.map(probe, [{"path": None}], pause))
    except (ExecutorLost, _Gone):
        os._exit(1)
