"""Log lines and counts for requests and runs, and metrics for Prometheus, by its client library.

The metrics are in memory, in one registry per server. Labels are bounded: methods and routes come from the router,
statuses from the contract, and at most `MOST_FLOWS` flow versions have a label.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, partial
from importlib.util import find_spec

from attrs import define

from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._runs.store.records import KINDS, StoredRun
from lume_local._runs.times import seconds_between

MOST_FLOWS = 200
"""The maximum of flow versions with a label; further ones are counted as `other`."""
_RUN_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_REQUEST_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60)
_ROWS = {"read": "rows_read", "mapped": "rows_mapped", "rejected": "rows_rejected"}


class ServerMetrics:
    """The metrics of one server. Requires prometheus_client: create it with `of`."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self._gauge = partial(Gauge, registry=registry)
        self._flows: set[str] = set()
        ProcessCollector(registry=registry)
        by_flow, by_route = ("flow_version", "status"), ("method", "route")
        self._runs = counter("lume_runs", "Runs that have ended.", by_flow)
        took = "How long runs took, from their start to their end."
        self._seconds = histogram("lume_run_duration_seconds", took, by_flow, buckets=_RUN_BUCKETS)
        self._rows = counter("lume_rows", "Rows of runs that have ended.", ("flow_version", "outcome"))
        self._given_up = counter(
            "lume_deliveries_given_up", "Deliveries after their last attempt.", ("kind",)
        )
        for kind in KINDS:
            self._given_up.labels(kind)  # created at the start, so that the first one shows as an increase
        requests = counter("lume_http_requests", "Requests.", (*by_route, "status"))
        took = "How long requests took, long polls included."
        name = "lume_http_request_duration_seconds"
        answered = histogram(name, took, by_route, buckets=_REQUEST_BUCKETS)
        # `labels` takes a lock and builds texts, for each request.
        self._of_requests = cache(
            lambda method, route, status: (
                requests.labels(method, route, status),
                answered.labels(method, route),
            )
        )
        self._counted: list[tuple[Gauge, Callable[[], Awaitable[float]]]] = []
        self._arriving: Callable[[], Awaitable[Mapping[str, Mapping[str, int]]]] | None = None

    @classmethod
    def of(cls) -> "ServerMetrics | None":
        """Create the metrics; None if prometheus_client is not installed."""
        return cls() if find_spec("prometheus_client") else None

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is read at each scrape."""
        self._gauge(name, meaning).set_function(value)

    def counted(self, name: str, meaning: str, count: Callable[[], Awaitable[float]]) -> None:
        """Add a gauge whose value is read from the store at each scrape."""
        self._counted.append((self._gauge(name, meaning), count))

    def arriving(self, counts: Callable[[], Awaitable[Mapping[str, Mapping[str, int]]]]) -> None:
        """Add gauges of the files of each arrival, read at each scrape; `counts` has them by arrival and state."""
        self._files = self._gauge("lume_arrival_files", "Files that arrived.", ("arrival", "state"))
        self._arriving = counts

    def run_ended(self, run: StoredRun) -> None:
        flow = run.flow_version
        if flow not in self._flows:
            if len(self._flows) < MOST_FLOWS:
                self._flows.add(flow)
            else:
                flow = "other"
        self._runs.labels(flow, run.status).inc()
        seconds = seconds_between(run.started_at, run.finished_at)
        if seconds is not None:
            self._seconds.labels(flow, run.status).observe(seconds)
        for outcome, name in _ROWS.items():
            self._rows.labels(flow, outcome).inc(run.metrics.get(name, 0))

    def delivery_given_up(self, kind: str) -> None:
        self._given_up.labels(kind).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        count, answered = self._of_requests(method, route, status)
        count.inc()
        answered.observe(seconds)

    async def text(self) -> bytes:
        from prometheus_client import generate_latest

        for gauge, count in self._counted:
            gauge.set(await count())
        if self._arriving is not None:
            self._files.clear()
            for arrival, states in (await self._arriving()).items():
                for state, files in states.items():
                    self._files.labels(arrival, state).set(files)
        return generate_latest(self.registry)


_log = logging.getLogger("lume_local.http")
_runs = logging.getLogger("lume_local.runs")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
OTHER = "other"
"""The label of unknown routes and methods."""


@define
class RequestInfo:
    """The facts of a request that are logged and counted.

    Attributes:
        route: the path as in the router.
        key: the name of the key's holder.
    """

    method: str
    request_id: str
    route: str = OTHER
    key: str | None = None


class Telemetry:
    """Logs at INFO, and counts if prometheus_client is installed."""

    def __init__(self, metrics: ServerMetrics | None) -> None:
        self._metrics = metrics

    def request(self, seen: RequestInfo, status: int, seconds: float) -> None:
        method, route = seen.method if seen.method in _METHODS else OTHER, seen.route
        if self._metrics is not None:
            self._metrics.request(method, route, status, seconds)
        if _log.isEnabledFor(logging.INFO):
            more = {
                "lume_request_id": seen.request_id,
                "lume_method": method,
                "lume_route": route,
                "lume_status_code": status,
                "lume_seconds": round(seconds, 6),
                "lume_key": seen.key,
            }
            _log.info("%s %s: %d after %.3f s", method, route, status, seconds, extra=more)

    def run_ended(self, run: StoredRun) -> None:
        if self._metrics is not None:
            self._metrics.run_ended(run)
        more = {
            "lume_run_id": run.run_id,
            "lume_flow_version": run.flow_version,
            "lume_status": run.status,
            "lume_rows_read": run.metrics.get("rows_read", 0),
            "lume_rows_rejected": run.metrics.get("rows_rejected", 0),
        }
        words = "run %s of %s is %s%s"
        reason = f": {run.error_message}" if run.error_message else ""
        _runs.info(words, run.run_id, run.flow_version, run.status, reason, extra=more)

    def delivery_given_up(self, kind: str) -> None:
        if self._metrics is not None:
            self._metrics.delivery_given_up(kind)

    async def page(self, ask: Ask) -> Reply:
        if self._metrics is None:
            raise Problem(
                "not-found", "prometheus_client is not installed: pip install 'lume-local[metrics]'"
            )
        return Reply(200, await self._metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
