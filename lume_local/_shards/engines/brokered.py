"""The executor of a run on a server with a cluster: the server's `broker`, `broker:///path/of/its/socket`."""

import select
import socket
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import orjson

from lume_local._shards.executor import TICK, ExecutorLost, Function, Json, Pause

SILENCE = 60.0
"""Seconds without a word after which the broker is taken for stuck."""
_PATIENCE = 30.0
"""Seconds in which the server may start its broker again."""
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        """See `Executor`. To hang up is to cancel."""
        if not arguments:
            return
        name = f"{function.__module__}:{function.__qualname__}"
        try:
            with _connected(self._path) as connection:
                connection.sendall(orjson.dumps({"function": name, "count": len(arguments)}) + b"\n")
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
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _answers(connection: socket.socket, pause: Pause) -> Iterator[Json]:
    """What it says, until it hangs up."""
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
