"""The executor on a Spark cluster: `spark://host:7077` is a master, `sc://host:15002` a Spark Connect server.

`spark-local://2` is a Spark of this machine alone, with two slots. All tasks of a call are one Spark job, which Spark
spreads over its slots; it begins a task again whose process was lost. The extra `spark`; a Java for the first two.
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
    """A connection to Spark, of one kind or the other. Every method may raise what pyspark raises."""

    def start(self) -> None:
        """Connect."""
        ...

    def count(self) -> int:
        """The slots that there are now."""
        ...

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """What `call` gives for each of them, in their order. The group names what is to be cancelled."""
        ...

    def cancel(self, group: str) -> None:
        """End what runs under that name."""
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
        except Exception as error:  # Java's and gRPC's have no common class
            raise failed(self._url, error) from error
        self.slots = self._presence.slots()
        return self

    def __exit__(self, *_: object) -> None:
        # A cluster that is gone may not answer to that either: it is not waited for.
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
        """Until it has ended: a job that is only about to begin is not cancelled by the first call."""
        asked = 0.0
        while not running.done() and asked < START:
            _has_ended(_begun(lambda: self._session.cancel(group)), START)
            _has_ended(running, 5 * TICK)
            asked += 5 * TICK


def _begun(work: Callable[[], Result]) -> Future[Result]:
    """A call in a thread of its own, which nothing waits for at the end: it can't be interrupted."""
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
