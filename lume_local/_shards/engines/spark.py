"""The executor on a Spark cluster: `spark://host:7077` is a master, `sc://host:15002` a Spark Connect server.

`spark-local://2` is a Spark of this machine alone, with two slots. All tasks of a call are one Spark job, which Spark
spreads over its slots; it begins a task again whose process was lost. The extra `spark`; a Java for the first two.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from lume_local._shards.engines.cluster import START, Presence, failed, job_of, lost, result_of
from lume_local._shards.executor import TICK, ExecutorLost, Function, Json, Pause

Result = TypeVar("Result")


class Session(Protocol):
    """A connection to Spark, of one kind or the other. Every method may raise what pyspark raises."""

    def start(self) -> None:
        """Connect."""

    def count(self) -> int:
        """The slots that there are now."""
        ...

    def run(self, group: str, jobs: list[Json]) -> list[Json]:
        """What `call` gives for each of them, in their order. The group names what is to be cancelled."""
        ...

    def cancel(self, group: str) -> None:
        """End what runs under that name."""

    def stop(self) -> None:
        """Disconnect."""


class Spark:
    """See `Executor`. Its slots are Spark's default parallelism."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = _session_of(url)
        self.slots = 1
        self._presence = Presence(url, self._session.count)

    def __enter__(self) -> Self:
        connecting = _Background(self._session.start)
        if not connecting.ended.wait(2 * START):
            raise lost(self._url, f"was not ready within {2 * START:g} s")
        try:
            connecting.result()
        except ExecutorLost:
            raise
        except Exception as error:  # Java's and gRPC's have no common class
            raise failed(self._url, error) from error
        self.slots = self._presence.slots()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A cluster that is gone may not answer to that either: it is not waited for.
        _Background(self._session.stop).ended.wait(START)

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        """See `Executor`."""
        if not arguments:
            return
        self.slots = self._presence.slots()
        group, jobs = f"lume-{uuid.uuid4().hex}", [job_of(function, argument) for argument in arguments]
        running = _Background(lambda: self._session.run(group, jobs))
        try:
            while not running.ended.wait(TICK):
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

    def _cancel(self, group: str, running: "_Background[list[Json]]") -> None:
        """Until it has ended: a job that is only about to begin is not cancelled by the first call."""
        asked = 0.0
        while not running.ended.is_set() and asked < START:
            _Background(lambda: self._session.cancel(group)).ended.wait(START)
            running.ended.wait(5 * TICK)
            asked += 5 * TICK


class _Background(Generic[Result]):
    """A call in a thread of its own, for it can't be interrupted."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self.ended = threading.Event()
        self._work = work
        self._results: list[Result] = []
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="spark", daemon=True).start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except Exception as error:
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> Result:
        """What it has given or raised, once it has `ended`."""
        if self._error is not None:
            raise self._error
        return self._results[0]


def _session_of(url: str) -> Session:
    if url.startswith("sc:"):
        from lume_local._shards.engines.spark_connect import Connect

        return Connect(url)
    from lume_local._shards.engines.spark_classic import Classic

    return Classic(url)
