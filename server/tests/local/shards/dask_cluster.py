"""A Dask cluster of this machine: a scheduler and workers, each a process that can be killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

TESTS = str(Path(__file__).parents[2])


@frozen
class Cluster:
    """Its engine's URL, and its processes."""

    url: str
    scheduler: subprocess.Popen[bytes]


@contextmanager
def started(folder: Path, workers: int = 2, threads: int = 1) -> Iterator[Cluster]:
    """With so many threads in each worker. They join when they can."""
    file = folder / "scheduler.json"
    with ExitStack() as stack:
        scheduler = stack.enter_context(
            process("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        )
        address = _address(file, scheduler)
        for _ in range(workers):
            stack.enter_context(process("worker", address, "--nthreads", str(threads), "--no-nanny"))
        yield Cluster(address.replace("tcp:", "dask:"), scheduler)


@contextmanager
def process(kind: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
    settings = {"PYTHONPATH": TESTS, "DASK_LOGGING__DISTRIBUTED": "error"}
    with subprocess.Popen(command, env=os.environ | settings) as started:
        try:
            yield started
        finally:
            started.kill()


def _address(file: Path, scheduler: subprocess.Popen[bytes]) -> str:
    limit = time.monotonic() + 100
    while time.monotonic() < limit and scheduler.poll() is None:
        try:
            written: dict[str, Any] = json.loads(file.read_text())
            return str(written["address"])
        except (FileNotFoundError, ValueError):
            time.sleep(0.02)
    raise AssertionError("the scheduler of Dask doesn't start")
