"""Which event loops the tests of the core and the facade run on: asyncio's own, uvloop's, or one after the other.

By itself, an asynchronous test runs on asyncio's loop. With `--thorough`, those in `SENSITIVE` run on both, and those
of `tests/faults` whose outcome may hang on timing (which are not marked `once`). `--loop uvloop` runs everything on
uvloop, also what a test runs by `asyncio.run`: so does every second round of `scripts/soak`. A program that such a
test starts has the loop of the test (see `faults.support`).
"""

import asyncio
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SENSITIVE = (
    *("async/http/test_time_limits.py", "async/http/test_limiter.py", "async/http/test_lifetime.py"),
    *("async/http/test_per_loop.py", "async/run/test_waiter.py", "async/many/test_scheduler.py"),
    *("async/many/test_owned.py", "async/base/test_threads.py", "async/batch/test_deadline.py"),
)
"""Files whose outcome hangs on timers, cancellation or threads: where one loop differs from the other."""

Factories = dict[str, Callable[[], asyncio.AbstractEventLoop]]
_ASYNCIO: Factories = {"asyncio": asyncio.new_event_loop}


def uvloop_s() -> Factories:
    """None where it is not installed."""
    if importlib.util.find_spec("uvloop") is None:
        return {}
    import uvloop

    return {"uvloop": uvloop.new_event_loop}


def of(item: pytest.Item, config: pytest.Config) -> Factories:
    """The loops for a test."""
    chosen = config.getoption("--loop")
    if chosen == "uvloop":
        return uvloop_s()
    if chosen is None and config.getoption("--thorough") and is_sensitive(item):
        return _ASYNCIO | uvloop_s()
    return _ASYNCIO


def is_sensitive(item: pytest.Item) -> bool:
    name = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
    return name in SENSITIVE or (name.startswith("faults/") and not item.get_closest_marker("once"))


def is_uvloop_s(item: pytest.Item) -> bool:
    return item.config.getoption("--loop") == "uvloop" or "[uvloop" in item.name


def use_everywhere(chosen: str | None) -> None:
    """`asyncio.run` takes the loop that was chosen for all, too."""
    if chosen == "uvloop":
        if not uvloop_s():
            raise pytest.UsageError("--loop uvloop: uvloop is not installed (the extra `speed`)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of policies, from Python 3.14 on
            exec(ON_UVLOOP, {})


ON_UVLOOP = "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())\n"
"""The beginning of a program whose loops are uvloop's."""


def prelude() -> str:
    """What a program begins with, so that its loops are of the kind that runs here."""
    return ON_UVLOOP if type(asyncio.get_running_loop()).__module__.startswith("uvloop") else ""
