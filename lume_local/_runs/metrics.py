"""Counts and durations for Prometheus, by its client library: in memory, in one registry per server.

Labels are bounded: methods and routes are those of the router, statuses those of the contract, and at most
`MOST_FLOWS` flow versions have a label.
"""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec

from lume_local._runs.records import StoredRun
from lume_local._runs.times import seconds_between

MOST_FLOWS = 200
"""Flow versions with a label; further ones are counted as `other`."""
_RUN_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_REQUEST_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60)
_ROWS = {"read": "rows_read", "mapped": "rows_mapped", "rejected": "rows_rejected"}


class ServerMetrics:
    """The metrics of one server. Requires prometheus_client: create it with `of`."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = CollectorRegistry()
        self._flows: set[str] = set()
        registry = self.registry
        ProcessCollector(registry=registry)
        self._runs = Counter(
            "lume_runs", "Runs that have ended.", ("flow_version", "status"), registry=registry
        )
        self._seconds = Histogram(
            "lume_run_duration_seconds",
            "How long runs took, from their start to their end.",
            ("flow_version", "status"),
            registry=registry,
            buckets=_RUN_BUCKETS,
        )
        self._rows = Counter(
            "lume_rows", "Rows of runs that have ended.", ("flow_version", "outcome"), registry=registry
        )
        self._requests = Counter(
            "lume_http_requests", "Requests.", ("method", "route", "status"), registry=registry
        )
        self._answered = Histogram(
            "lume_http_request_duration_seconds",
            "How long requests took, long polls included.",
            ("method", "route"),
            registry=registry,
            buckets=_REQUEST_BUCKETS,
        )
        self._gauge = Gauge
        self._counted: list[tuple[Gauge, Callable[[], Awaitable[float]]]] = []

    @classmethod
    def of(cls) -> "ServerMetrics | None":
        """The metrics; None if prometheus_client is not installed."""
        return cls() if find_spec("prometheus_client") else None

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A gauge whose value is read at each scrape."""
        self._gauge(name, meaning, registry=self.registry).set_function(value)

    def counted(self, name: str, meaning: str, count: Callable[[], Awaitable[float]]) -> None:
        """A gauge whose value is read from the store at each scrape."""
        self._counted.append((self._gauge(name, meaning, registry=self.registry), count))

    def run_ended(self, run: StoredRun) -> None:
        """Count a run."""
        flow = self._bounded(run.flow_version)
        self._runs.labels(flow, run.status).inc()
        seconds = seconds_between(run.started_at, run.finished_at)
        if seconds is not None:
            self._seconds.labels(flow, run.status).observe(seconds)
        for outcome, name in _ROWS.items():
            self._rows.labels(flow, outcome).inc(run.metrics.get(name, 0))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, status).inc()
        self._answered.labels(method, route).observe(seconds)

    async def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        from prometheus_client import generate_latest

        for gauge, count in self._counted:
            gauge.set(await count())
        return generate_latest(self.registry)

    def _bounded(self, flow: str) -> str:
        if flow in self._flows:
            return flow
        if len(self._flows) >= MOST_FLOWS:
            return "other"
        self._flows.add(flow)
        return flow
