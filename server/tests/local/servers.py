"""Servers that tests start themselves: in the same process, or in one that can be killed."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fork_server import fork_server
from forked import SERVERS, ForkedProcess, fork
from local.wire import Wire

import lume_local

SCRIPT = """
import asyncio, json, sys, lume_local

async def main(home, options):
    options = {"roots": [home]} | options
    async with lume_local.serve(f"{home}/flows", f"{home}/.lume", **options) as server:
        print(server.base_url, server.api_key, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


Process = ForkedProcess | asyncio.subprocess.Process
"""A server that is one."""


@asynccontextmanager
async def process(
    home: Path, *, forked: bool = True, env: Mapping[str, str] = {}, **options: Any
) -> AsyncIterator[tuple[Process, Wire]]:
    """A server in a process of its own, and a client for it. Killed at the end, if it is still there.

    If `forked`, its workers are, too; else all are new interpreters.
    """
    arguments, env = (str(home), json.dumps({"max_active": 1} | options)), os.environ | env
    server: Process
    if forked:
        program = f"import forked; forked.fork_workers()\n{SCRIPT}"
        server = await fork(fork_server(*SERVERS), program, env, arguments)
    else:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SCRIPT, *arguments), env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
    assert server.stdout is not None
    try:
        base_url, api_key = (await server.stdout.readline()).decode().split()
        wire = Wire(base_url, api_key)
        async with wire.session:
            yield server, wire
    finally:
        if server.returncode is None:
            server.kill()
        _, said = await server.communicate()
        print(said.decode(), file=sys.stderr)


@asynccontextmanager
async def serve(home: Path, **options: Any) -> AsyncIterator[Wire]:
    """A server in this process, and a client for it. One worker unless told otherwise: each takes time to start."""
    options = {"max_active": 1, "roots": [home]} | options
    async with lume_local.serve(home / "flows", home / ".lume", **options) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            yield wire
