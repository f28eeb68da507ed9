"""Portals on both kinds of loop, and scripts in processes of their own under a hard watchdog."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lume_sync._portal import Portal

ROOT = Path(__file__).parents[2]


def loop_factories() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    factories: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
    try:
        import uvloop
    except ImportError:
        return factories
    return [*factories, uvloop.new_event_loop]


@pytest.fixture(params=loop_factories(), ids=lambda factory: factory.__module__.partition(".")[0])
def portal(request: pytest.FixtureRequest) -> Iterator[Portal]:
    portal = Portal(new_loop=request.param)
    yield portal
    portal.close()


@dataclass
class Finished:
    code: int
    out: str
    err: str


RunScript = Callable[..., Finished]


@pytest.fixture(params=["asyncio", "uvloop"])
def run_script(request: pytest.FixtureRequest) -> RunScript:
    """Runs a script; one that hangs is made to show where, and fails the test."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")

    def run(source: str, *, seconds: float = 20.0, flags: tuple[str, ...] = ()) -> Finished:
        watchdog = f"import faulthandler; faulthandler.dump_traceback_later({seconds}, exit=True)\n"
        if request.param == "asyncio":
            watchdog += "import sys; sys.modules['uvloop'] = None\n"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LUME_API_KEY": "test-key",
            "LUME_BASE_URL": "http://127.0.0.1:9",
        }
        done = subprocess.run(
            [sys.executable, *flags, "-c", watchdog + textwrap.dedent(source)],
            capture_output=True,
            text=True,
            timeout=seconds + 10,
            env=environment,
        )
        assert "Timeout (" not in done.stderr, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    return run
