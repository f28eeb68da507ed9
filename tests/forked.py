"""Programs of a fork server as asyncio has processes, and the workers of servers that tests start."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from fork_server import Forked, ForkServer, fork_server, own
from running import Piped

from lume_local._runs.workers import child

CLIENTS = ("lume_async._client", "lume_sync._client")
WORKERS = tuple(
    name
    for name in ("lume_local._worker.main", "lume_local._worker.samples.proposing", "openpyxl")
    if find_spec(name.partition(".")[0])  # Airflow's environment has less
)
"""What workers and samples import, some of it only when it is needed."""
SERVERS = WORKERS + tuple(
    name
    for name in ("lume_local._serve.serve", "boto3.session", "obstore.store", "psycopg")
    if find_spec(name.partition(".")[0])
)
"""What servers import, and their workers."""
WORKER = "lume worker"
"""The name of the processes of servers."""


class ForkedProcess:
    """What tests and servers use of an `asyncio.subprocess.Process` that has three pipes."""

    def __init__(
        self,
        forked: Forked,
        stdin: asyncio.StreamWriter,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
    ) -> None:
        self._forked = forked
        self.pid = forked.pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._ended())

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            self._forked.send_signal(number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def communicate(self) -> tuple[bytes, bytes]:
        self.stdin.close()
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err

    async def _ended(self) -> int:
        with self._forked.ended as ended:
            ended.setblocking(False)
            self.returncode = int(await asyncio.get_running_loop().sock_recv(ended, 32))
        self.stdin.close()
        return self.returncode


class _Output(asyncio.StreamReaderProtocol):
    """A pipe that is closed at its end: uvloop leaves it open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._pipe = transport

    def eof_received(self) -> bool | None:
        self._pipe.close()
        return super().eof_received()


async def fork(
    server: ForkServer,
    source: str,
    env: Mapping[str, str],
    args: tuple[str, ...] = (),
    *,
    limit: int = 65_536,
    **options: Any,
) -> ForkedProcess:
    """Begin `python -c SOURCE ARGS`; `limit` is that of a line, `options` are those of `start`."""
    (its_in, stdin), (stdout, its_out), (stderr, its_err) = os.pipe(), os.pipe(), os.pipe()
    theirs = (its_in, its_out, its_err)
    forked = server.start(source, args, env=env, streams=theirs, **options)
    for number in theirs:
        os.close(number)
    writer = await _writer(stdin)
    return ForkedProcess(forked, writer, await _reader(stdout, limit), await _reader(stderr, limit))


async def _reader(number: int, limit: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit)
    protocol = _Output(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(number, "rb", 0))
    return reader


async def _writer(number: int) -> asyncio.StreamWriter:
    loop, protocol = asyncio.get_running_loop(), asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(number, "wb", 0))
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def start_forked(
    program: str, environment: dict[str, str], longest_line: int, *, server: ForkServer | None = None
) -> child.ChildProcess:
    """Starts processes for the servers of this process, in place of `child.start_process`."""
    server = server or fork_server(*SERVERS)
    return await fork(server, program, environment, limit=longest_line, session=True, name=WORKER)


def begin_sample(*args: str, server: ForkServer | None = None) -> Piped:
    """Starts the process of a sample, in place of that of `open_sample`."""
    program = "import sys; from lume_local._worker.samples.sample import main; main(*sys.argv[1:])"
    return Piped(server or fork_server(*SERVERS), program, args, os.environ)


def fork_workers() -> None:
    """For a program that is forked: so are its workers."""
    child.default_start = partial(start_forked, server=own())


def altered(change: Callable[[str], str]) -> child.Start:
    """Starts processes as usual, but another program in them."""
    start = child.default_start
    return lambda program, *more: start(change(program), *more)
