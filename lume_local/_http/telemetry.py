"""A log line and counts for each request and each run."""

import logging

from attrs import define

from lume_local._http.messages import Ask, Reply
from lume_local._http.problems import Problem
from lume_local._http.requests import only_known
from lume_local._runs.metrics import ServerMetrics
from lume_local._runs.records import StoredRun

_log = logging.getLogger("lume_local.http")
_runs = logging.getLogger("lume_local.runs")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
OTHER = "other"
"""Stands for an unknown route, and for an unknown method."""


@define
class RequestInfo:
    """What is logged and counted of a request.

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
        """Log and count a request."""
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
        """Log and count a run that has ended."""
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

    async def page(self, ask: Ask) -> Reply:
        """`GET /metrics`: not part of the contract."""
        only_known(ask.query, ())
        if self._metrics is None:
            raise Problem(
                "not-found", "prometheus_client is not installed: pip install 'lume-client[metrics]'"
            )
        return Reply(200, await self._metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
