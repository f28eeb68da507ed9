"""Portals on both kinds of loop, and scripts in processes of their own under a hard watchdog."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from faults.support import DIES_WITH_US, QUIET_ABOUT_TIME, SHOWS_WHERE, Finished, family
from fork_server import fork_server
from forked import CLIENTS
from in_memory import tmp_path as tmp_path
from on_posix import IS_POSIX, need_posix
from running import Running, running
from sync.service import Service, serving

from lume_sync._hops import call as _call
from lume_sync._hops.portal import Portal

ROOT = Path(__file__).parents[2]
collect_ignore = [] if IS_POSIX else ["test_celery.py", "test_gunicorn.py"]
"""They import the embedded server."""


def loop_factories() -> list[Any]:
    """uvloop's is for the thorough run."""
    try:
        import uvloop
    except ImportError:
        return [asyncio.new_event_loop]
    return [asyncio.new_event_loop, pytest.param(uvloop.new_event_loop, marks=pytest.mark.thorough)]


@pytest.fixture(params=loop_factories(), ids=lambda factory: factory.__module__.partition(".")[0])
def portal(request: pytest.FixtureRequest) -> Iterator[Portal]:
    portal = Portal(new_loop=request.param)
    yield portal
    portal.close()


RunScript = Callable[..., Finished]
Interrupt = Callable[..., Finished]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with serving() as running:
        monkeypatch.setenv("LUME_BASE_URL", running.url)
        yield running


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.thorough)])
def loop(request: pytest.FixtureRequest) -> str:
    """What drives the private loop of a script."""
    name: str = request.param
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return name


@pytest.fixture
def run_script(loop: str) -> RunScript:
    """Runs a script; one that hangs is made to show where, and fails the test.

    Not `forked`: a new interpreter, for a script to which it matters what is imported when.
    """

    def run(
        source: str, *, seconds: float = 20.0, flags: tuple[str, ...] = (), forked: bool = True
    ) -> Finished:
        with started(source, loop, flags, forked=forked) as process:
            return end_of(process, seconds)

    return run


@pytest.fixture
def interrupt(loop: str, service: Service) -> Interrupt:
    """Runs a script, presses Ctrl-C once the service has seen the run `after`, and waits for its end.

    `times` in a row, `gap` seconds apart; and again after each of `then`.
    """

    def run(
        source: str,
        *,
        after: str,
        times: int = 1,
        gap: float = 0,
        then: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> Finished:
        with started(source, loop, flags) as process:
            for run_id in (after, *then):
                service.wait_for(run_id)
                for _ in range(times):
                    process.send_signal(signal.SIGINT)
                    time.sleep(gap)
            return end_of(process, 20)

    return run


class Fresh:
    """A new interpreter, with what `forked.Running` has."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid
        self.send_signal = process.send_signal

    def communicate(self, timeout: float) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=timeout)
        return self._process.returncode, out, err


@contextmanager
def started(
    source: str, loop: str, flags: tuple[str, ...], *, forked: bool = True
) -> Iterator[Running | Fresh]:
    # Not faulthandler's own timer: a forked child would wait at its exit for the timer's thread.
    prelude = DIES_WITH_US + SHOWS_WHERE + QUIET_ABOUT_TIME
    hidden = ("uvloop",) if loop == "asyncio" else ()
    source = textwrap.dedent(source)
    env = {
        "LUME_BASE_URL": "http://127.0.0.1:9",
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LUME_API_KEY": "test-key",
    }
    need_posix()
    if forked:
        server = fork_server(*CLIENTS, hidden=hidden, flags=flags)
        with running(server, prelude + source, env=env) as program:
            yield program
        return
    prelude += f"import sys; sys.modules.update(dict.fromkeys({hidden}))\n"
    command = [sys.executable, *flags, "-c", prelude + source]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            yield Fresh(process)
        finally:
            process.kill()


def end_of(process: Running | Fresh, seconds: float) -> Finished:
    try:
        return Finished(*process.communicate(seconds))
    except subprocess.TimeoutExpired:
        for pid in family(process.pid):
            os.kill(pid, signal.SIGFPE)  # shows where each thread stands
        _, out, err = process.communicate(10)
        pytest.fail(f"the script hung\n{out}\n{err}")


async def add(left: int, right: int = 0) -> int:
    await asyncio.sleep(0)
    return left + right


async def for_ever() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


async def fail(error: BaseException) -> NoReturn:
    raise error


@pytest.fixture
def busy_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "CLEAN_UP", 0.2)
    monkeypatch.setattr(_call, "SLICE", 0.05)


def tasks(portal: Portal) -> int:
    async def count() -> int:
        return len(asyncio.all_tasks()) - 1

    return portal.call(count).result()
