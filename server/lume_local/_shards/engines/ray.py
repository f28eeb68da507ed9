"""The executor on a Ray cluster: `ray://host:10001` is its head's Ray Client server. The extra `ray`.

`ray://auto` is the cluster that this machine belongs to; `ray://local` starts one here while the executor is in use.
Ray restarts a task whose worker was lost.
"""

import logging
import os
from collections.abc import Generator, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError, TaskCancelledError

from lume_local._shards.engines import cluster
from lume_local._shards.executor import MOST_ATTEMPTS, TICK, Function, Json, Pause, job_of

_PORT = 10001
_HERE = ("auto", "local")
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_gcs_rpc_server_reconnect_timeout_s": f"{cluster.START:g}",
    "RAY_CLIENT_RECONNECT_GRACE_PERIOD": f"{cluster.START:g}",
}


class Ray:
    """See `Executor`. Its slots are the CPUs of all nodes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.slots = 1
        count = lambda: ray.is_initialized() and int(ray.cluster_resources().get("CPU", 0))  # noqa: E731
        self._presence = cluster.Presence(url, count)

    def __enter__(self) -> Self:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            try:
                self._connect()
            except ConnectionAbortedError:
                # A busy head gives up on the process that it starts for each client; the next try finds it half warm.
                self._connect()
        except (OSError, RuntimeError, RayError) as error:
            raise cluster.lost(self._url, "can't be used", error) from error
        self.slots = self._presence.slots()
        return self

    def _connect(self) -> None:
        name = urlsplit(self._url).netloc
        if name in _HERE:
            address_ = name
        else:
            host, port = cluster.address(self._url, _PORT)
            address_ = f"ray://{host}:{port}"
        options: dict[str, Any] = {"include_dashboard": False} if address_ == "local" else {}
        ray.init(address_, logging_level=logging.ERROR, log_to_driver=False, **options)

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Generator[Json]:
        self.slots = self._presence.slots()
        remote = ray.remote(max_retries=MOST_ATTEMPTS - 1, num_cpus=1)(cluster.call)

        def submit(argument: Json) -> Any:
            if not ray.is_initialized():  # else Ray would start a cluster here
                raise cluster.lost(self._url, "is gone")
            try:
                return remote.remote(job_of(function, argument))
            except (OSError, RayError) as error:
                raise cluster.lost(self._url, "is gone", error) from error

        def take(reference: Any) -> Json:
            return cluster.result_of(self._url, self._answer(reference, pause))

        return cluster.in_order(arguments, self.slots, submit, take, _cancel)

    def _answer(self, reference: Any, pause: Pause) -> Json:
        while True:
            pause()
            try:
                answer: Json = ray.get(reference, timeout=TICK)
                return answer
            except GetTimeoutError:
                self._presence.check()
            except (RayTaskError, TaskCancelledError, RuntimeError) as error:
                raise cluster.failed(self._url, error) from error
            except OSError as error:
                raise cluster.lost(self._url, "is gone", error) from error
            except RayError as error:
                raise cluster.lost(
                    self._url, f"lost a task {MOST_ATTEMPTS} times with its worker", error
                ) from error


def _cancel(references: list[Any]) -> None:
    for reference in references:
        if not ray.is_initialized():
            return
        try:
            # Not by force: that makes Ray abort this process if such a task has just ended. Without force the task
            # gets a KeyboardInterrupt, which DuckDB heeds.
            ray.cancel(reference)
        except (OSError, RuntimeError, RayError):  # the cluster is gone, and its tasks with it
            return
