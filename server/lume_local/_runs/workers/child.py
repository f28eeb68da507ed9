"""A Python process of the server, with pipes for communication."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol, cast

import anyio

from lume_local._shared.interpreter import command

_NOT_FOR_CHILDREN = {"LUME_API_KEY", "LUME_WEBHOOK_SECRET", "PYTEST_CURRENT_TEST"}
"""The last one changes with each test, and is meaningless to a process that outlives the test."""
_DATABASE = re.compile(
    r"\s*(?:(?:postgres(?:ql)?|sqlite)\b[\w+]*:|[a-z][\w+.-]*://[^/?#@\s]*:[^/?#\s]*@)", re.IGNORECASE
)
"""The URL of a database, or any URL with a password."""
_PROXY = "_proxy"
"""The suffix of variables whose URLs are needed to reach anything, including their passwords."""


class ChildProcess(Protocol):
    """The part of `asyncio.subprocess.Process` that the server uses, with three pipes."""

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
"""Starts a Python process, given its program text, its environment, and the maximum length of a line that it writes.

The process ends with this one. Raises OSError: no memory, no room for one more process or its pipes.
"""


async def start_process(program: str, environment: dict[str, str], longest_line: int) -> ChildProcess:
    """Start a new interpreter, see `Start`."""
    process = await asyncio.create_subprocess_exec(
        *command(program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=longest_line,
        start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends its processes
    )
    return cast(ChildProcess, process)  # has the requested pipes


default_start: Start = start_process
"""The default for `Start`. Only tests change it: theirs forks a process that has imported everything."""


Secrets = Callable[[], Collection[str]]
"""Returns the values that other processes must not know: a file that names some may have changed."""


def environment(secrets: Secrets = frozenset) -> dict[str, str]:
    """Return the environment of a process started now.

    It omits the server's `secrets`, whatever their variables are called, and URLs of databases: see `lent`.
    """
    withheld = secrets()
    return {
        name: value
        for name, value in _variables().items()
        if not (name in _NOT_FOR_CHILDREN or value in withheld or _is_database(name, value))
    }


def lent(names: Collection[str] | None) -> dict[str, str]:
    """Return the database URLs in these variables, for a job that uses them; in all variables if `names` is None."""
    if names is not None and not names:
        return {}
    return {
        name: value
        for name, value in _variables().items()
        if (names is None or name in names) and _is_database(name, value)
    }


def _is_database(name: str, value: str) -> bool:
    return _DATABASE.match(value) is not None and not name.lower().endswith(_PROXY)


def _variables() -> dict[str, str]:
    # Other threads may set variables meanwhile: the names are listed at once, and any may have disappeared.
    found = {name: os.environ.get(name) for name in list(os.environ)}
    return {name: value for name, value in found.items() if value is not None}


async def child(program: str, environment: dict[str, str], longest_line: int = 65536) -> ChildProcess:
    """Start a process, see `Start`."""
    process = None
    with anyio.CancelScope(shield=True):  # cancelled in the middle, asyncio would lose the process
        process = await default_start(program, environment, longest_line)
    assert process is not None
    return process
