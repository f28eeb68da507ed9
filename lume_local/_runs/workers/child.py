"""A Python process of the server, talked to by pipes."""

import asyncio
import os
import sys
from pathlib import Path

import anyio

_HOME = str(Path(__file__).resolve().parents[2])

_NOT_FOR_CHILDREN = {"LUME_API_KEY", "PYTEST_CURRENT_TEST"}
"""The last one is another in each test, and says nothing to a process that outlives it."""


def environment() -> dict[str, str]:
    """The variables that a process gets which is started now."""
    # Other threads may set some meanwhile: a list of the names is made at once, and any of them may be gone.
    found = {name: os.environ.get(name) for name in list(os.environ)}
    return {
        name: value for name, value in found.items() if value is not None and name not in _NOT_FOR_CHILDREN
    }


async def child(start: str, longest_line: int = 65536) -> asyncio.subprocess.Process:
    """Start one that runs `start`, in which `{!r}` is this installation's folder and `{}` the server's process id.

    It doesn't get the server's API key. Raises OSError: no memory, no room for one more process or its pipes.
    """
    process = None
    with anyio.CancelScope(shield=True):  # cancelled in the middle, asyncio would lose the process
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            start.format(_HOME, os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
            limit=longest_line,
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends its processes
        )
    assert process is not None
    return process
