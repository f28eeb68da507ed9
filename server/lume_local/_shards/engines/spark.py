"""The executor on a Spark cluster: `spark://host:7077` is a master, `sc://host:15002` a Spark Connect server.

`spark-local://2` is a Spark on this machine alone, with two slots. All tasks of a call are one Spark job, which Spark
spreads over its slots; it restarts a task whose process was lost. The extra `spark`; Java for the master and local.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol, Self, TypeVar

from lume_local._shards.engines.cluster import START, Presence, failed, lost, result_of
from lume_local._shards.executor import TICK, ExecutorLost, Function, Json, Pause, job_of

Result = TypeVar("Result")


class SparkDriver(Protocol):
    """A connection to Spark, of either kind. Every method may raise pyspark's exceptions."""

    def start(self) -> None:
        """Connect."""
        ...

    def count(self) -> int:
        """Return the present number of slots."""
        ...

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """Return the results of `call`, in the order of the jobs. `cancel` takes the group's name."""
        ...

    def cancel(self, group: str) -> None:
        """Cancel the jobs of a group."""
        ...

    def stop(self) -> None:
        """Disconnect."""
        ...


class Spark:
    """See `Executor`. Its slots are Spark's default parallelism."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = _session_of(url)
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

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
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
            self._cancel(group, running)
        try:
            answers = running.result()
        except Exception as error:
            raise failed(self._url, error) from error
        for answer in answers:
            yield result_of(self._url, answer)

    def _cancel(self, group: str, running: Future[Any]) -> None:
        """Repeat until it has ended: the first call does not cancel a job that is only about to start."""
        asked = 0.0
        while not running.done() and asked < START:
            _has_ended(_begun(lambda: self._session.cancel(group)), START)
            _has_ended(running, 5 * TICK)
            asked += 5 * TICK


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
    return bool(wait([future], seconds).done)


def _session_of(url: str) -> SparkDriver:
    if url.startswith("sc:"):
        from lume_local._shards.engines.spark_connect import Connect

        return Connect(url)
    from lume_local._shards.engines.spark_classic import Classic

    return Classic(url)
