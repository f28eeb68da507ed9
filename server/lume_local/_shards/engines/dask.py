"""The executor on a Dask cluster: `dask://host:8786` is its scheduler. The extra `dask`.

Dask restarts a task whose worker was lost, up to its own `allowed-failures`, three by default.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, Self

from distributed import Client, Future, KilledWorker

from lume_local._shards.engines import cluster
from lume_local._shards.engines.dask_task import call_apart
from lume_local._shards.executor import TICK, Function, Json, Pause, job_of

_PORT = 8786
_ANSWER = 5.0
"""Seconds that the scheduler may take to answer a small request."""


class Dask:
    """See `Executor`. Its slots are the threads of all workers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.slots = 1
        self._client: Any  # its methods have no types
        self._presence = cluster.Presence(url, self._threads)

    def __enter__(self) -> Self:
        host, port = cluster.address(self._url, _PORT)
        try:
            self._client = Client(f"tcp://{host}:{port}", timeout=cluster.START, set_as_default=False)
        # A TimeoutError is an OSError; a scheduler that is too old raises an ImportError.
        except (OSError, ImportError) as error:
            raise cluster.lost(self._url, "can't be used", error) from error
        try:
            # A cluster that has just started has no slots yet.
            self._client.wait_for_workers(1, timeout=cluster.START)
        except TimeoutError as error:
            self._client.close(timeout=_ANSWER)
            raise cluster.lost(self._url, f"has had no worker for {cluster.START:g} s") from error
        self.slots = self._presence.slots()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close(timeout=_ANSWER)

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        self.slots = self._presence.slots()

        def submit(argument: Json) -> Future:
            # A disconnected client would hold the task until it finds its scheduler again.
            if self._client.status != "running":
                raise cluster.lost(self._url, "is gone: its scheduler was lost")
            return self._client.submit(call_apart, job_of(function, argument), pure=False)

        def take(future: Future) -> Json:
            return cluster.result_of(self._url, self._answer(future, pause))

        return cluster.in_order(arguments, self.slots, submit, take, self._cancel)

    def _answer(self, future: Future, pause: Pause) -> Json:
        # Not `result` alone: if it times out, it also ends the `result` that another call is waiting for.
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while True:
            pause()
            if not done.wait(TICK):
                self._presence.check()
                continue
            try:
                answer: Json = future.result(timeout=_ANSWER)
                return answer
            except TimeoutError:
                self._presence.check()
            except CancelledError as error:  # only a client that loses its scheduler raises this
                raise cluster.lost(self._url, "is gone: its scheduler was lost") from error
            except KilledWorker as error:
                times, last = error.allowed_failures + 1, error.last_worker.address
                raise cluster.lost(
                    self._url, f"lost a task {times} times with its worker, at last {last}"
                ) from error
            except Exception as error:
                raise cluster.failed(self._url, error) from error

    def _cancel(self, futures: list[Future]) -> None:
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)

    def _threads(self) -> int:
        ask = self._client.scheduler.identity
        return int(self._client.sync(ask, n_workers=0, callback_timeout=_ANSWER)["total_threads"])
