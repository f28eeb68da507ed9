"""A forked program, as asyncio has processes."""

import asyncio
import os
import signal
from collections.abc import Mapping

from fork_server import Forked, ForkServer

IMPORTED = ("lume_async._client", "lume_sync._client")


_Pipe = tuple[asyncio.StreamReader, asyncio.ReadTransport]


class ForkedProcess:
    """Like `asyncio.subprocess.Process`."""

    def __init__(self, forked: Forked, stdout: "_Pipe", stderr: "_Pipe") -> None:
        self._forked = forked
        self.pid = forked.pid
        (self.stdout, out), (self.stderr, err) = stdout, stderr
        self._transports = out, err
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
        for transport in self._transports:
            transport.close()  # at the end of the pipe, uvloop's stays open
        await asyncio.sleep(0)
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


async def _reader(number: int) -> _Pipe:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(number, "rb", 0))
    return reader, transport
