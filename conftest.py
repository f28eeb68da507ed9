"""What holds for all tests."""

import asyncio
import gc
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import depth
import loops
import pytest
from forked import begin_sample, start_forked
from hypothesis import settings

from lume_local._runs.workers import child
from lume_local._samples import opening

# A job in the background of a script has SIGINT ignored, and its children with it: tests of Ctrl-C would then wait
# for ever. A handler here becomes the default one in every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DURATIONS = Path(__file__).with_name("tests") / "durations.json"
"""Seconds that a file takes in a quick and in a thorough run.

The longest begin first: a file stays on one core, and would keep the others waiting.
"""
MEASURED = Path(__file__).with_name("tests")
"""The tests that show what of the client is covered; tracing the others would cost them a quarter of their time."""
BEGIN_SAMPLE = opening.begin
LONG = 300.0
"""Seconds that a test may take with `--thorough`, unless it says so itself."""
SHORT = 5.0
"""Seconds of a file that is not worth a line there."""
seconds: defaultdict[str, float] = defaultdict(float)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="run the tests that are marked thorough, too")
    parser.addoption("--record-durations", action="store_true", help=f"note them in {DURATIONS.name}")
    parser.addoption(
        "--loop", choices=("asyncio", "uvloop"), help="the event loop of all tests (see loops.py)"
    )


def pytest_configure(config: pytest.Config) -> None:
    depth.is_thorough = config.getoption("--thorough")
    # No deadline per example: how long one takes is the machine's affair, and every test has its own time limit.
    # Derandomized: the same examples in every run, so that a failure is never a matter of luck.
    settings.register_profile("lume", depth.examples(100), derandomize=True)
    settings.load_profile("lume")
    loops.use_everywhere(config.getoption("--loop"))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return loops.of(item, config)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two for each core: many tests wait, for a disk, a program or a time limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * cores


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests are no garbage: nothing looks for it among them, as they are collected and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    recorded = json.loads(DURATIONS.read_text())[kind_of_run(config)]
    items.sort(key=lambda item: -recorded.get(file_of(item.nodeid), 0))
    for item in items:
        limit: dict[str, Any] = {}
        if config.getoption("--thorough") and not item.get_closest_marker("timeout"):
            limit["timeout"] = LONG * depth.TIMES  # of random tests there are many more examples
        if loops.is_uvloop_s(item):
            # It swallows what the handler of a signal raises: the time limit ends the process instead.
            limit["method"] = "thread"
        if limit:
            item.add_marker(pytest.mark.timeout(**limit))
        if not item.path.is_relative_to(MEASURED) and config.pluginmanager.hasplugin("pytest_cov"):
            item.add_marker(pytest.mark.no_cover)
    if config.getoption("--thorough"):
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def kind_of_run(config: pytest.Config) -> str:
    return "thorough" if config.getoption("--thorough") else "quick"


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    seconds[file_of(report.nodeid)] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of the files that were run, and are not parts of a run that another process oversees."""
    if session.config.getoption("--record-durations") and not hasattr(session.config, "workerinput"):
        recorded = json.loads(DURATIONS.read_text())
        for kind, earlier in recorded.items():
            now = earlier | (seconds if kind == kind_of_run(session.config) else {})
            long = {name: round(now[name]) for name in sorted(now) if now[name] >= SHORT}
            recorded[kind] = {
                name: took for name, took in long.items() if (session.config.rootpath / name).is_file()
            }
        DURATIONS.write_text(json.dumps(recorded, indent=0) + "\n")


@pytest.fixture(scope="session", autouse=True)
def forked_workers() -> Iterator[None]:
    """Servers of tests fork their workers and samples their processes, where Linux has names to find them by."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            patch.setattr(child, "default_start", start_forked)
            patch.setattr(opening, "begin", begin_sample)
        yield


@pytest.fixture
def real_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They don't: each worker is a new interpreter, as users have it."""
    monkeypatch.setattr(child, "default_start", child.start_process)
    monkeypatch.setattr(opening, "begin", BEGIN_SAMPLE)
