"""A forked program, as asyncio has processes."""

import asyncio
import os
import signal
from collections.abc import Mapping

from fork_server import Forked, ForkServer

IMPORTED = ("lume_async._client", "lume_sync._client")


class ForkedProcess:
    """Like `asyncio.subprocess.Process`."""

    def __init__(self, forked: Forked, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self._forked = forked
        self.pid = forked.pid
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._ended())

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            self._forked.send_signal(number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def communicate(self) -> tuple[bytes, bytes]:
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), asyncio.shield(self._end))
        return out, err

    async def _ended(self) -> None:
        with self._forked.ended as ended:
            ended.setblocking(False)
            self.returncode = int(await asyncio.get_running_loop().sock_recv(ended, 32))


async def fork(
    server: ForkServer, source: str, env: Mapping[str, str], args: tuple[str, ...] = ()
) -> ForkedProcess:
    pipes = [os.pipe() for _ in range(2)]
    nothing = os.open(os.devnull, os.O_RDONLY)
    theirs = (nothing, *(write for _, write in pipes))
    forked = server.start(source, args, env=env, streams=theirs)
    for number in theirs:
        os.close(number)
    return ForkedProcess(forked, *[await _reader(read) for read, _ in pipes])


async def _reader(number: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(number, "rb", 0))
    return reader
