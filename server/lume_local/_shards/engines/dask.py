"""The executor on a Dask cluster: `dask://host:8786` is its scheduler. The extra `dask`.

Dask restarts a task whose worker was lost, up to its own `allowed-failures`, three by default. It merely forgets a
cancelled task that has started, and a busy thread can't be ended: so a task runs in a process beside its worker,
which notices the cancellation and kills the process (`call_apart`).
"""

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, Self

from distributed import Client, Future, KilledWorker, get_worker

from lume_local._shards.engines import cluster
from lume_local._shards.engines.pool import Pool
from lume_local._shards.executor import TICK, ExecutorLost, Function, Json, Pause, job_of
from lume_local._shared.failing import on_error

_PORT = 8786
_ANSWER = 5.0
"""Seconds that the scheduler may take to answer a small request."""
_IDLE = 20.0
"""Seconds after which an idle process beside a worker ends."""


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

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Generator[Json]:
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


class _Cancelled(Exception):
    """The result is no longer wanted."""


class _Processes:
    """Processes of this worker that wait for their next task."""

    def __init__(self) -> None:
        self._idle: list[tuple[float, Pool]] = []
        self._lock = threading.Lock()
        self._sweeper: threading.Timer | None = None

    @contextmanager
    def one(self) -> Iterator[Pool]:
        """Yield an idle process, or a new one. An error ends it."""
        with self._lock:
            pool = self._idle.pop()[1] if self._idle else Pool(1).__enter__()
        with on_error(pool.__exit__):
            yield pool
        with self._lock:
            self._idle.append((time.monotonic(), pool))
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweeper is None and self._idle:
            self._sweeper = threading.Timer(_IDLE, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            limit = time.monotonic() - _IDLE
            old = [pool for since, pool in self._idle if since <= limit]
            self._idle = [(since, pool) for since, pool in self._idle if since > limit]
            self._sweeper = None
            self._sweep_later()
        for pool in old:
            pool.__exit__()


_processes = _Processes()


def call_apart(job: Json) -> Json:
    """Do the work of `call` in another process, which ends if the task is cancelled."""
    worker = get_worker()
    key = worker.get_current_task()

    def pause() -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise _Cancelled

    try:
        with _processes.one() as pool:
            (answer,) = pool.map(cluster.call, [job | {"worker": worker.address}], pause)
            return answer
    except _Cancelled:
        return {"error": "was cancelled"}
    except ExecutorLost as error:
        return {"error": f"the worker {worker.address}: {error}"}
