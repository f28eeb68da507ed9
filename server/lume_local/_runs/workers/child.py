"""A Python process of the server, talked to by pipes."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol, cast

import anyio

from lume_local._shared.interpreter import command

_NOT_FOR_CHILDREN = {"LUME_API_KEY", "LUME_WEBHOOK_SECRET", "PYTEST_CURRENT_TEST"}
"""The last one is another in each test, and says nothing to a process that outlives it."""
_DATABASE = re.compile(
    r"\s*(?:(?:postgres(?:ql)?|sqlite)\b[\w+]*:|[a-z][\w+.-]*://[^/?#@\s]*:[^/?#\s]*@)", re.IGNORECASE
)
"""The URL of a database, or another one with a password."""
_PROXY = "_proxy"
"""The end of the names of variables whose URLs are needed to reach anything, with their passwords."""


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


def environment(secrets: Collection[str] = ()) -> dict[str, str]:
    """The variables that a process gets which is started now.

    Not the server's `secrets`, whatever their variables are called, and no URL of a database: see `lent`.
    """
    return {
        name: value
        for name, value in _variables().items()
        if not (name in _NOT_FOR_CHILDREN or value in secrets or _is_database(name, value))
    }


def lent(names: Collection[str] | None) -> dict[str, str]:
    """The URLs of databases among these variables, for a job that uses them; of all variables if `names` is None."""
    return {
        name: value
        for name, value in _variables().items()
        if (names is None or name in names) and _is_database(name, value)
    }


def _is_database(name: str, value: str) -> bool:
    return _DATABASE.match(value) is not None and not name.lower().endswith(_PROXY)


def _variables() -> dict[str, str]:
    # Other threads may set some meanwhile: a list of the names is made at once, and any of them may be gone.
    found = {name: os.environ.get(name) for name in list(os.environ)}
    return {name: value for name, value in found.items() if value is not None}


async def child(
    program: str, environment: dict[str, str], longest_line: int = 65536, start: Start | None = None
) -> ChildProcess:
    """Start a process, see `Start`."""
    process = None
    with anyio.CancelScope(shield=True):  # cancelled in the middle, asyncio would lose the process
        process = await (start or default_start)(program, environment, longest_line)
    assert process is not None
    return process
