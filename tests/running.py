"""A forked program, for tests that block until it has done something: much of what `subprocess.Popen` has."""

import contextlib
import io
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Self

from fork_server import Forked, ForkServer

LARGEST = 65_536
"""Bytes of its stdin: a pipe takes so many at once."""


class Running:
    """A program whose output can be read."""

    stdin = None

    def __init__(self, forked: Forked, stdout: BinaryIO | None, stderr: BinaryIO | None) -> None:
        self._forked = forked
        self.stdout, self.stderr = stdout, stderr
        self._got: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._open = {0, 1}
        self.pid = forked.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            ended = self._forked.ended
            if not _readable([ended.fileno()], timeout):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            self.returncode = int(ended.recv(32))
            ended.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            self._forked.send_signal(number)

    def kill(self) -> None:
        if self.returncode is None:
            self._forked.kill()

    def communicate(self, timeout: float) -> tuple[int, str, str]:
        """Its exit code and what it has written, at its end; else a TimeoutExpired, and it may be called again."""
        assert self.stdout is not None
        assert self.stderr is not None
        deadline = time.monotonic() + timeout
        streams = [self.stdout.fileno(), self.stderr.fileno()]
        while self._open:
            ready = _readable([streams[each] for each in self._open], deadline - time.monotonic())
            if not ready:
                raise subprocess.TimeoutExpired(f"process {self.pid}: {self._got}", timeout)
            for number in ready:
                each = streams.index(number)
                if chunk := os.read(number, LARGEST):
                    self._got[each].extend(chunk)
                else:
                    self._open.discard(each)
        code = self.wait(deadline - time.monotonic())
        return code, self._got[0].decode(), self._got[1].decode()

    def close(self) -> None:
        """Kill it, if it still runs."""
        self.kill()
        self.wait(10)
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


def _readable(numbers: list[int], timeout: float) -> list[int]:
    with selectors.DefaultSelector() as selector:
        for number in numbers:
            selector.register(number, selectors.EVENT_READ)
        return [key.fd for key, _ in selector.select(max(0.0, timeout))]


def begin(
    server: ForkServer,
    source: str,
    args: tuple[str, ...] = (),
    *,
    folder: Path | None = None,
    env: Mapping[str, str],
    stdin: int,
) -> Running:
    """`python -c SOURCE ARGS` with pipes for its output; who asks closes it."""
    (out, its_out), (err, its_err) = os.pipe(), os.pipe()
    try:
        forked = server.start(source, args, folder=folder, env=env, streams=(stdin, its_out, its_err))
    finally:
        os.close(its_out)
        os.close(its_err)
    return Running(forked, os.fdopen(out, "rb", 0), os.fdopen(err, "rb", 0))


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
    """The same with that on its stdin; leaving the block leaves no process behind."""
    assert len(stdin) < LARGEST
    its_in, write = os.pipe()
    os.write(write, stdin)
    os.close(write)
    try:
        program = begin(server, source, args, folder=folder, env=env, stdin=its_in)
    finally:
        os.close(its_in)
    try:
        yield program
    finally:
        program.close()


class Piped:
    """A program that is talked to in text: what `lume` uses of a `subprocess.Popen`."""

    def __init__(
        self, server: ForkServer, source: str, args: tuple[str, ...], env: Mapping[str, str]
    ) -> None:
        its_in, write = os.pipe()
        try:
            self._program = begin(server, source, args, env=env, stdin=its_in)
        finally:
            os.close(its_in)
        assert self._program.stdout is not None
        self.stdin, self.stdout = os.fdopen(write, "w"), io.TextIOWrapper(self._program.stdout)
        self.poll, self.kill = self._program.poll, self._program.kill

    @property
    def returncode(self) -> int | None:
        return self._program.returncode

    def communicate(self) -> tuple[str, str]:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        _, out, err = self._program.communicate(120)
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self._program.close()
        self.stdout.close()
