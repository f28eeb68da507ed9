"""The executor on a Spark cluster: `spark://host:7077` is a master, `sc://host:15002` a Spark Connect server.

`spark-local://2` is a Spark on this machine alone, with two slots. All tasks of a call are one Spark job, which Spark
spreads over its slots; it restarts a task whose process was lost. The extra `spark`; Java for the master and local.
"""

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import orjson

from lume_local._shards.engines.cluster import START, Presence, address, call, failed, lost, result_of
from lume_local._shards.executor import MOST_ATTEMPTS, TICK, ExecutorLost, Function, Json, Pause, job_of

Result = TypeVar("Result")

_MASTER_PORT = 7077
_LOCAL = "spark-local"
_SETTINGS = {
    "spark.task.maxFailures": str(MOST_ATTEMPTS),
    "spark.scheduler.mode": "FAIR",  # several runs run concurrently
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",  # errors are also raised
}
_CONNECT_PORT = 15002
_MOST_RETRIES = 6
_LONGEST_RETRY = 10_000
"""Milliseconds: about half a minute in total, instead of Spark's ten minutes."""


class Spark:
    """See `Executor`. Its slots are Spark's default parallelism."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: Connect | Classic = Connect(url) if url.startswith("sc:") else Classic(url)
        self.slots = 1
        self._presence = Presence(url, self._session.count)

    def __enter__(self) -> Self:
        connecting = _begun(self._session.start)
        if not _has_ended(connecting, 2 * START):
            raise lost(self._url, f"was not ready within {2 * START:g} s")
        try:
            connecting.result()
        except ExecutorLost:
            raise
        except Exception as error:  # Java's and gRPC's errors have no common class
            raise failed(self._url, error) from error
        self.slots = self._presence.slots()
        return self

    def __exit__(self, *_: object) -> None:
        # A lost cluster may not answer this either, so the wait is bounded.
        _has_ended(_begun(self._session.stop), START)

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Generator[Json]:
        if not arguments:
            return
        self.slots = self._presence.slots()
        group, jobs = f"lume-{uuid.uuid4().hex}", [job_of(function, argument) for argument in arguments]
        running = _begun(lambda: self._session.run(group, jobs))
        try:
            while not _has_ended(running, TICK):
                pause()
                self._presence.check()
        finally:
            # Until it has ended: Spark ignores a cancel of a job that is only about to start.
            waited = 0.0
            while not running.done() and waited < START:
                _has_ended(_begun(lambda: self._session.cancel(group)), START)
                _has_ended(running, 5 * TICK)
                waited += 5 * TICK
        try:
            answers = running.result()
        except Exception as error:
            raise failed(self._url, error) from error
        for answer in answers:
            yield result_of(self._url, answer)


def _begun(work: Callable[[], Result]) -> Future[Result]:
    """Start a call in a thread that nobody joins at exit: it can't be interrupted."""
    future = Future[Result]()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="spark", daemon=True).start()
    return future


def _has_ended(future: Future[Any], seconds: float) -> bool:
    """Wait for the end, at most so many seconds; return whether it came."""
    return bool(wait([future], seconds).done)


class Classic:
    """A connection by a Java process that ends with this one, for a master or for this machine alone.

    The methods here and of `Connect` raise pyspark's exceptions.
    """

    def __init__(self, url: str) -> None:
        import pyspark

        self._pyspark: Any = pyspark
        self._url = url
        self._is_local = urlsplit(url).scheme == _LOCAL
        self._context: Any = None

    def start(self) -> None:
        """Start a driver, and wait until it has a worker."""
        if self._is_local:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        name = urlsplit(self._url).netloc
        if self._is_local:
            master = f"local[{name or '*'},{MOST_ATTEMPTS}]"
        else:
            host, port = address(self._url, _MASTER_PORT)
            master = f"spark://{host}:{port}"
        settings = self._pyspark.SparkConf().setAppName("lume").setMaster(master)
        for name, value in _SETTINGS.items():
            settings.set(name, value)
        self._context = self._pyspark.SparkContext(conf=settings)
        limit = time.monotonic() + START
        while not self.count() and time.monotonic() < limit:
            time.sleep(TICK)

    def count(self) -> int:
        """Return the cores of the executors that have registered; the driver itself counts as one executor."""
        has_any = self._is_local or self._context._jsc.sc().getExecutorMemoryStatus().size() > 1
        return int(self._context.defaultParallelism) if has_any else 0

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """Return the results of `call`, in order; each has a partition of its own. `cancel` takes the group."""
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


class Connect:
    """A connection to a Spark Connect server, without Java on this machine."""

    def __init__(self, url: str) -> None:
        from pyspark.sql.connect import functions
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession

        self._functions, self._policy, self._sessions = functions, DefaultPolicy, SparkSession
        self._url = url
        self._slots = 0
        self._session: Any = None

    def start(self) -> None:
        """Open a separate session on the server."""
        address(self._url, _CONNECT_PORT)
        self._session = self._sessions.builder.remote(self._url).create()
        policy = self._policy(max_retries=_MOST_RETRIES, max_backoff=_LONGEST_RETRY)
        self._session.client.set_retry_policies([policy])
        numbers = self._session.range(1_000_000).select(self._functions.spark_partition_id().alias("part"))
        self._slots = 1 + int(numbers.select(self._functions.max("part")).collect()[0][0])

    def count(self) -> int:
        """Return the slots at the start, if the server still answers: it doesn't report the current number."""
        self._session.conf.get("spark.app.name")
        return self._slots

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """Run each task in its own partition: a range is cut as asked, and a broadcast join keeps the partitions."""
        self._session.addTag(group)
        rows = [(number, orjson.dumps(job).decode()) for number, job in enumerate(jobs)]
        tasks = self._session.createDataFrame(rows, "id long, job string")
        grid = self._session.range(0, len(jobs), 1, len(jobs)).join(self._functions.broadcast(tasks), "id")
        found = grid.mapInArrow(_call_all, "id long, answer string").collect()
        answers: dict[int, Json] = {row["id"]: orjson.loads(row["answer"]) for row in found}
        return [answers[number] for number in range(len(jobs))]

    def cancel(self, group: str) -> None:
        """Interrupt the operations of a group; Spark then kills their Python processes."""
        self._session.interruptTag(group)

    def stop(self) -> None:
        """Stop only the session: the server belongs to somebody else."""
        if self._session is not None:
            self._session.stop()


def _call_all(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield, on a worker, the answers to the tasks of one partition."""
    import pyarrow

    for batch in batches:
        given = batch.to_pydict()
        answers = [orjson.dumps(call(orjson.loads(job))).decode() for job in given["job"]]
        yield pyarrow.RecordBatch.from_pydict(
            {
                "id": pyarrow.array(given["id"], pyarrow.int64()),
                "answer": pyarrow.array(answers, pyarrow.string()),
            }
        )
