"""A Python process of the server, talked to by pipes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import anyio

from lume_local._shared.interpreter import command

_NOT_FOR_CHILDREN = {"LUME_API_KEY", "PYTEST_CURRENT_TEST"}
"""The last one is another in each test, and says nothing to a process that outlives it."""


class ChildProcess(Protocol):
    """What the server uses of an `asyncio.subprocess.ChildProcess` that has three pipes."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


Start = Callable[[str, dict[str, str], int], Awaitable[ChildProcess]]
"""Starts a Python process. Takes the text of its program, its environment, and the length of a line that it writes.

It ends with this one. Raises OSError: no memory, no room for one more process or its pipes.
"""


async def start_process(program: str, environment: dict[str, str], longest_line: int) -> ChildProcess:
    """See `Start`: a new interpreter."""
    process = await asyncio.create_subprocess_exec(
        *command(program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=longest_line,
        start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends its processes
    )
    return cast(ChildProcess, process)  # which has the pipes that it was given


default_start: Start = start_process
"""Used where no other is given. Only tests set it: theirs forks a process that has imported everything."""


def environment() -> dict[str, str]:
    """The variables that a process gets which is started now: not the server's API key."""
    # Other threads may set some meanwhile: a list of the names is made at once, and any of them may be gone.
    found = {name: os.environ.get(name) for name in list(os.environ)}
    return {
        name: value for name, value in found.items() if value is not None and name not in _NOT_FOR_CHILDREN
    }


async def child(
    program: str, environment: dict[str, str], longest_line: int = 65536, start: Start | None = None
) -> ChildProcess:
    """Start a process, see `Start`."""
    process = None
    with anyio.CancelScope(shield=True):  # cancelled in the middle, asyncio would lose the process
        process = await (start or default_start)(program, environment, longest_line)
    assert process is not None
    return process
