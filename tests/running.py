"""A forked program, for tests that block until it ends."""

import contextlib
import os
import selectors
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from fork_server import Forked, ForkServer

LARGEST = 65_536
"""Bytes of its stdin: a pipe takes so many at once."""


class Running:
    """A program whose output is read while it is waited for."""

    def __init__(self, forked: Forked, stdout: int, stderr: int) -> None:
        self._forked = forked
        self._streams = (stdout, stderr, forked.ended.fileno())
        self._got = {number: bytearray() for number in self._streams}
        self._open = set(self._streams)
        self.pid = forked.pid
        self.send_signal = forked.send_signal

    def communicate(self, timeout: float) -> tuple[int, str, str]:
        """Its exit code and what it has written, at its end; else a TimeoutError, and it may be called again."""
        deadline = time.monotonic() + timeout
        while self._open:
            with selectors.DefaultSelector() as selector:
                for number in self._open:
                    selector.register(number, selectors.EVENT_READ)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"it does not end: {self._got}")
            for key, _ in ready:
                self._read(key.fd)
        out, err, code = (bytes(self._got[number]) for number in self._streams)
        return int(code), out.decode(), err.decode()

    def close(self) -> None:
        """Kill it, if it still runs."""
        self._forked.kill()
        self._forked.ended.close()
        for number in self._streams[:2]:
            os.close(number)

    def _read(self, number: int) -> None:
        chunk = os.read(number, LARGEST)
        self._got[number] += chunk
        if number == self._streams[2] or not chunk:  # the server of programs leaves its socket open
            self._open.discard(number)


@contextlib.contextmanager
def running(
    server: ForkServer,
    source: str,
    args: tuple[str, ...] = (),
    *,
    folder: Path | None = None,
    env: Mapping[str, str],
    stdin: bytes = b"",
) -> Iterator[Running]:
    """`python -c SOURCE ARGS`; leaving the block leaves no process behind."""
    assert len(stdin) < LARGEST
    pipes = [os.pipe() for _ in range(3)]
    os.write(pipes[0][1], stdin)
    os.close(pipes[0][1])
    theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
    forked = server.start(source, args, folder=folder, env=env, streams=theirs)
    for number in theirs:
        os.close(number)
    program = Running(forked, pipes[1][0], pipes[2][0])
    try:
        yield program
    finally:
        program.close()
