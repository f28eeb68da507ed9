"""What holds for all tests."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import depth
import loops
import pytest
from forked import ForkServer, use
from hypothesis import settings

# A job in the background of a script has SIGINT ignored, and its children with it: tests of Ctrl-C would then wait
# for ever. A handler here becomes the default one in every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline per example: how long one takes is the machine's affair, and every test has its own time limit.
# Derandomized: the same examples in every run, so that a failure is never a matter of luck.
settings.register_profile("lume", deadline=None, derandomize=True)
settings.load_profile("lume")

LONG = (
    *("test_airflow.py", "test_engines.py", "test_docs.py", "contract_tools/test_schemathesis.py"),
    *("local/runs/test_store_runs.py", "local/runs/test_late_runs.py", "local/runs/test_limits.py"),
    *("contract_tools/test_mutants.py", "local/shards/test_identity.py", "faults/test_gateway.py"),
    *("faults/test_haproxy.py", "cli/test_server_watch.py", "faults/test_ctrl_c.py"),
    *("local/shards/test_coordinator.py", "local/shards/test_cluster_server.py", "sync/test_celery.py"),
    *("local/worker/test_databases.py", "async/test_cancellation.py", "faults/test_crowd.py"),
    *("sync/test_processes.py", "tools/test_generate_sync.py", "test_package.py"),
)
"""Files that take longest begin first: a file stays on one core, and at the end it would keep the others waiting."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="run the tests that are marked thorough, too")
    parser.addoption(
        "--loop", choices=("asyncio", "uvloop"), help="the event loop of all tests (see loops.py)"
    )


def pytest_configure(config: pytest.Config) -> None:
    depth.is_thorough = config.getoption("--thorough")
    loops.use_everywhere(config.getoption("--loop"))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return loops.of(item.path, config)


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
    here = Path(__file__).parent
    order = {here / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))
    if config.getoption("--thorough"):
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[ForkServer]:
    """Workers, and the servers of tests that are processes, are forked (see `forked`)."""
    server = ForkServer()
    end = use(server)
    try:
        yield server
    finally:
        end()
        server.close()


@pytest.fixture
def real_processes(fork_server: ForkServer) -> Iterator[None]:
    """They are not: each has an interpreter of its own."""
    with fork_server.real():
        yield
