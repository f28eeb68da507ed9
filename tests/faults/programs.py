"""Servers of other makers, each in a process of its own that ends with its block."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from faults.support import ENOUGH


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def running(*command: str | Path, port: int, log: Path) -> AsyncIterator[None]:
    """The program, from the moment at which its port answers."""
    with log.open("ab") as output:
        program = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(ENOUGH):
            while not await answers(port):
                assert program.returncode is None, log.read_text()
                await asyncio.sleep(0.01)
        yield
    finally:
        if program.returncode is None:
            program.terminate()
        await program.wait()


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
