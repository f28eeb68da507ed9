"""OpenTelemetry: a span per call, a child per attempt, the duration; nothing where nothing is set up.

Providers are set once per process, so the tests of the spans share theirs.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from lume_async import ApiConnectionError
from lume_async._http import tracing
from lume_async.testing import FakeAnswer, FakeTransport, fake_client, run_json

DONE = FakeAnswer(200, run_json("run_1", "SUCCEEDED"))


@pytest.fixture(scope="module")
def exporter() -> Iterator[InMemorySpanExporter]:
    provider, found = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(found))
    trace._set_tracer_provider(provider, log=False)
    yield found
    provider.shutdown()
    trace._TRACER_PROVIDER = None


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


def look(answers: list[FakeAnswer | Exception]) -> FakeTransport:
    client, transport = fake_client(answers)
    with contextlib.suppress(ApiConnectionError):
        asyncio.run(client.run_status("run_1"))
    return transport


def test_a_span_per_call_and_a_child_per_attempt(spans: InMemorySpanExporter) -> None:
    transport = look([FakeAnswer(502), DONE])
    first, second, call = spans.get_finished_spans()
    assert (call.name, call.kind, call.parent) == ("lume GET /v1/runs/{id}", SpanKind.INTERNAL, None)
    assert (call.attributes or {})["lume.run.id"] == "run_1"
    for attempt in (first, second):
        assert (attempt.name, attempt.kind) == ("GET /v1/runs/{id}", SpanKind.CLIENT)
        assert attempt.parent is not None
        assert attempt.parent.span_id == call.context.span_id
    assert _facts(first) == (502, "502", None, StatusCode.ERROR)
    assert _facts(second) == (200, None, 1, StatusCode.UNSET)
    assert format(second.context.span_id, "016x") in transport.requests[1].headers["traceparent"]


def test_an_attempt_without_an_answer(spans: InMemorySpanExporter) -> None:
    look([ApiConnectionError("refused", reached=False), DONE])
    assert _facts(spans.get_finished_spans()[0]) == (None, "ApiConnectionError", None, StatusCode.ERROR)


def test_no_span_is_open_while_a_wait_sleeps(spans: InMemorySpanExporter) -> None:
    client, _ = fake_client([FakeAnswer(200, run_json("run_1", "CREATED")), DONE])
    asyncio.run(client.attach("run_1").wait())
    assert [span.name for span in spans.get_finished_spans() if span.parent is None] == [
        "lume GET /v1/runs/{id}"
    ] * 2


def test_the_key_and_the_query_are_in_no_span(spans: InMemorySpanExporter) -> None:
    client, _ = fake_client([FakeAnswer(200, {"items": [], "next_cursor": None})], api_key="canary-key-1234")

    async def main() -> None:
        async for _run in client.list_runs(source_path="s3://canary-bucket"):
            pass

    asyncio.run(main())
    assert "canary" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_the_duration_is_measured(spans: InMemorySpanExporter) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics._internal._set_meter_provider(provider, log=False)
    try:
        look([FakeAnswer(502), DONE])
        data = reader.get_metrics_data()
        assert data is not None
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        statuses = [
            (point.attributes or {})["http.response.status_code"] for point in metric.data.data_points
        ]
        assert sorted(statuses) == [200, 502]  # type: ignore[type-var]
    finally:
        provider.shutdown()
        metrics._internal._METER_PROVIDER = None


def test_without_a_provider_it_is_off_and_imports_nothing() -> None:
    code = (
        "import asyncio, sys\n"
        "from lume_async.testing import FakeAnswer, fake_client, run_json\n"
        "from lume_async._http.tracing import tracing_is_on\n"
        "client, _ = fake_client([FakeAnswer(200, run_json('r', 'SUCCEEDED'))])\n"
        "asyncio.run(client.run_status('r'))\n"
        "assert 'opentelemetry' not in sys.modules\n"
        "import opentelemetry.trace, opentelemetry.metrics\n"
        "assert not tracing_is_on()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)


def test_it_is_on_where_one_of_the_two_is_set(spans: InMemorySpanExporter) -> None:
    assert tracing.tracing_is_on()


def _facts(span: ReadableSpan) -> tuple[object, object, object, StatusCode]:
    attributes = span.attributes or {}
    return (
        attributes.get("http.response.status_code"),
        attributes.get("error.type"),
        attributes.get("http.request.resend_count"),
        span.status.status_code,
    )
