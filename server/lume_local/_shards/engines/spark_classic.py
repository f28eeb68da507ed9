"""Spark with its own driver, a Java process that ends with this one: on a master, or on this machine alone."""

import os
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from pyspark import SparkConf, SparkContext

from lume_local._shards.engines.cluster import START, address, call
from lume_local._shards.executor import MOST_ATTEMPTS, TICK, Json

_PORT = 7077
_LOCAL = "spark-local"
_SETTINGS = {
    "spark.task.maxFailures": str(MOST_ATTEMPTS),
    "spark.scheduler.mode": "FAIR",  # several runs run concurrently
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",  # errors are also raised
}


class Classic:
    """See `SparkDriver`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_local = urlsplit(url).scheme == _LOCAL
        self._context: Any = None

    def start(self) -> None:
        """Start a driver, and wait until it has a worker."""
        if self._is_local:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        settings = SparkConf().setAppName("lume").setMaster(self._master())
        for name, value in _SETTINGS.items():
            settings.set(name, value)
        self._context = SparkContext(conf=settings)
        limit = time.monotonic() + START
        while not self.count() and time.monotonic() < limit:
            time.sleep(TICK)

    def _master(self) -> str:
        name = urlsplit(self._url).netloc
        if self._is_local:
            return f"local[{name or '*'},{MOST_ATTEMPTS}]"
        host, port = address(self._url, _PORT)
        return f"spark://{host}:{port}"

    def count(self) -> int:
        """Return the cores of the executors that have registered; the driver itself counts as one executor."""
        has_any = self._is_local or self._context._jsc.sc().getExecutorMemoryStatus().size() > 1
        return int(self._context.defaultParallelism) if has_any else 0

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """Run each task in a partition of its own."""
        self._context.setJobGroup(group, "lume", interruptOnCancel=True)
        answers: list[Json] = self._context.parallelize(jobs, len(jobs)).map(call).collect()
        return answers

    def cancel(self, group: str) -> None:
        """Cancel the jobs of a group; Spark then kills their Python processes."""
        self._context.cancelJobGroup(group)

    def stop(self) -> None:
        """Stop the context; the Java process stays until this one ends."""
        if self._context is not None:
            self._context.stop()
