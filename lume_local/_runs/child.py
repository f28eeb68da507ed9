"""A Python process of the server, talked to by pipes."""

import asyncio
import os
import sys
from pathlib import Path

import anyio

_HOME = str(Path(__file__).resolve().parents[2])


async def child(start: str, longest_line: int = 65536) -> asyncio.subprocess.Process:
    """Start one that runs `start`, in which `{!r}` is this installation's folder and `{}` the server's process id.

    It doesn't get the server's API key. Raises OSError: no memory, no room for one more process or its pipes.
    """
    environment = {name: value for name, value in os.environ.items() if name != "LUME_API_KEY"}
    process = None
    with anyio.CancelScope(shield=True):  # cancelled in the middle, asyncio would lose the process
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            start.format(_HOME, os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=longest_line,
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends its processes
        )
    assert process is not None
    return process
