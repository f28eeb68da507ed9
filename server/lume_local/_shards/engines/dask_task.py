"""A task on a Dask worker. It runs in a process beside the worker, because a busy thread can't be ended.

Dask merely forgets a cancelled task that has started; the worker notices that here and kills the process.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import get_worker

from lume_local._shards.engines.cluster import call
from lume_local._shards.engines.pool import Pool
from lume_local._shards.executor import ExecutorLost, Json
from lume_local._shared.on_error import on_error

_IDLE = 20.0
"""Seconds after which an idle process ends."""


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
            (answer,) = pool.map(call, [job | {"worker": worker.address}], pause)
            return answer
    except _Cancelled:
        return {"error": "was cancelled"}
    except ExecutorLost as error:
        return {"error": f"the worker {worker.address}: {error}"}
