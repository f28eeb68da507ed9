"""What the tests of faults share: clients for a loopback server, clocks, scripts in processes of their own."""

import asyncio
import os
import random
import signal
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loops
from fork_server import fork_server
from forked import CLIENTS, ForkedProcess, fork
from loopback import Loopback, Request
from loopback_steps import Connection, Moment, Reply, Step, reply

from lume_async import Client
from lume_async._base.clock import SystemClock
from lume_async.testing import run_json

ROOT = Path(__file__).parents[2]
KEY = "test-key"
FLOW, SOURCE = "flow:v1", "a.csv"
SEED = int(os.environ.get("FAULTS_SEED", "0"))
"""What the random tests begin with; `scripts/soak` gives each round another."""

ENOUGH = 20.0
"""Seconds that something may take which takes milliseconds: a busy machine must not fail a test."""


def client_for(server: Loopback, **options: Any) -> Client:
    return Client(KEY, **{"base_url": server.url, "proxy": False, "request_timeout": ENOUGH, **options})


class LeapingClock(SystemClock):
    """Sleeps take no time, the clock leaps over them. For one waiter at a time: real sockets, no real waiting."""

    def __init__(self) -> None:
        self.leapt = 0.0
        self.sleeps: list[float] = []

    def now(self) -> float:
        return super().now() + self.leapt

    def wall(self) -> float:
        return super().wall() + self.leapt

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.leapt += max(0.0, seconds)
        await asyncio.sleep(0)


def leaping_client(server: Loopback, **options: Any) -> tuple[Client, LeapingClock]:
    client, clock = client_for(server, **options), LeapingClock()
    sender = client._sender
    client._sender = sender.over(sender._transport, clock=clock, rng=random.Random(0))
    return client, clock


def run_reply(status: str = "SUCCEEDED", run_id: str = "run_1", code: int = 200, **fields: Any) -> Reply:
    return reply(code, run_json(run_id, status, **fields))


@dataclass(frozen=True)
class After:
    """A step that takes its time."""

    seconds: float
    step: Step
    moment: Moment = "request"

    async def play(self, connection: Connection) -> None:
        await asyncio.sleep(self.seconds)
        await self.step.play(connection)


@dataclass
class Finished:
    code: int | None
    out: str
    err: str


SHOWS_WHERE = "import faulthandler; faulthandler.enable()\n"

QUIET_ABOUT_TIME = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)\n"
"""Under -X dev a step of 0.1 s is warned of: on a busy machine that means nothing. Leaks are errors."""


DIES_WITH_US = "import ctypes, sys; sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9)\n"
"""PR_SET_PDEATHSIG, SIGKILL: where the tests are killed, a script that waits would go on knocking at a port that
soon belongs to somebody else's server."""


class Script:
    """A Python program in a process of its own; leaving the block leaves no process behind.

    A `forked` one has not imported everything itself: for tests to which that makes no difference.
    """

    def __init__(
        self,
        source: str,
        *,
        env: Mapping[str, str] | None = None,
        flags: tuple[str, ...] = (),
        forked: bool = False,
    ) -> None:
        self._source = DIES_WITH_US + SHOWS_WHERE + QUIET_ABOUT_TIME + textwrap.dedent(source)
        self._flags = flags
        inherited = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self._env = {**inherited, "PYTHONPATH": paths, "LUME_API_KEY": KEY, **(env or {})}
        self._forked = forked
        self.process: ForkedProcess | asyncio.subprocess.Process

    async def __aenter__(self) -> "Script":
        source = loops.prelude() + self._source
        if self._forked:
            self.process = await fork(fork_server(*CLIENTS, flags=self._flags), source, self._env)
            return self
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._flags,
            "-c",
            source,
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.process.returncode is None and isinstance(error, Exception):
            for pid in family(self.process.pid):
                os.kill(pid, signal.SIGFPE)  # faulthandler shows where each thread stands
            error.add_note((await self.process.communicate())[1].decode())
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def end(self, seconds: float = 40.0) -> Finished:
        async with asyncio.timeout(seconds):
            out, err = await self.process.communicate()
        return Finished(self.process.returncode, out.decode(), err.decode())


def family(pid: int) -> list[int]:
    """The process and those that it forked, and so on; the oldest last, so that none is orphaned meanwhile."""
    children = [
        int(child)
        for listed in Path(f"/proc/{pid}/task").glob("*/children")
        for child in listed.read_text().split()
    ]
    return [*(member for child in children for member in family(child)), pid]


async def run_script(source: str, **options: Any) -> Finished:
    async with Script(source, **options) as script:
        return await script.end()


def held(request: Request) -> bool:
    """Whether the client asked the server to wait for a change."""
    return request.headers.get("prefer", "").startswith("wait=")
