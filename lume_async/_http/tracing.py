"""OpenTelemetry, if the program has set it up (extra `otel`): a span per call, a child per attempt, a duration.

Names and attributes follow the HTTP semantic conventions. A wait is many short calls: no span is open while it
sleeps. Without OpenTelemetry the only cost is a check.
"""

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define

from lume_async._base.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_SCOPE = "lume"


def tracing_is_on() -> bool:
    """Return whether the program has set a provider of spans or metrics."""
    trace, metrics = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.metrics")
    return (trace is not None and not _is_placeholder(trace.get_tracer_provider())) or (
        metrics is not None and not _is_placeholder(metrics.get_meter_provider())
    )


@define
class Traced:
    """Receives the result of an attempt."""

    status: int | None = None
    error: str | None = None


@contextmanager
def traced_call(operation: str, run_id: str | None) -> Iterator[None]:
    """Open the span of one logical call, retries included."""
    from opentelemetry.trace import SpanKind, get_tracer

    attributes = {"lume.operation": operation} | ({"lume.run.id": run_id} if run_id else {})
    tracer = get_tracer(_SCOPE, __version__)
    with tracer.start_as_current_span(f"lume {operation}", kind=SpanKind.INTERNAL, attributes=attributes):
        yield


@contextmanager
def traced_attempt(
    operation: str, base_url: str, path: str, attempt: int, headers: MutableMapping[str, str]
) -> Iterator[Traced]:
    """Open the span of one request; its context is added to `headers`, so that the server's spans join it."""
    from opentelemetry.propagate import inject
    from opentelemetry.trace import SpanKind, get_tracer

    place = urlsplit(base_url)
    attributes: dict[str, Any] = {
        "http.request.method": operation.split(" ", 1)[0],
        "url.full": base_url + path.split("?", 1)[0],
        "url.template": operation.split(" ", 1)[1],
        "server.address": place.hostname or "",
        "server.port": place.port or (443 if place.scheme == "https" else 80),
    }
    if attempt > 1:
        attributes["http.request.resend_count"] = attempt - 1
    traced = Traced()
    tracer = get_tracer(_SCOPE, __version__)
    begun = perf_counter()
    with tracer.start_as_current_span(operation, kind=SpanKind.CLIENT, attributes=attributes) as span:
        inject(headers)
        try:
            yield traced
        finally:
            _finish(span, traced, attributes, perf_counter() - begun)


def _finish(span: "Span", traced: Traced, attributes: dict[str, Any], duration: float) -> None:
    from opentelemetry.metrics import get_meter
    from opentelemetry.trace import StatusCode

    found: dict[str, Any] = {}
    if traced.status is not None:
        found["http.response.status_code"] = traced.status
    failed = traced.error or (str(traced.status) if (traced.status or 0) >= 400 else None)
    if failed:
        found["error.type"] = failed
        span.set_status(StatusCode.ERROR)
    span.set_attributes(found)
    kept = ("http.request.method", "server.address", "server.port", "url.template")
    get_meter(_SCOPE, __version__).create_histogram(
        "http.client.request.duration", unit="s", description="Duration of HTTP client requests."
    ).record(duration, {name: attributes[name] for name in kept} | found)


def _is_placeholder(provider: object) -> bool:
    """Return whether it is the API's default, until the program sets a provider."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
