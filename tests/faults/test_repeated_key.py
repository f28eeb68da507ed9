"""A server that repeats the API key, in any byte that it can send: nothing that leaves the client shows it."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import pytest
from cli.shell import MODULE, lume_server
from components import package
from faults.silence import assert_silent, shown_by
from faults.support import FLOW, SOURCE
from forked import fork
from loopback import Loopback, forever
from loopback_steps import Sends

import lume_async
from lume_async import Client, LumeError, Retry, RunRequest

pytestmark = pytest.mark.once

KEY = "canary/KEY+5f2c9e=="
"""With characters that JSON, URLs and Base64 write in other ways."""

SPELLINGS = {
    KEY,
    quote(KEY, safe=""),
    json.dumps(KEY)[1:-1].replace("/", r"\/"),
    base64.b64encode(KEY.encode()).decode(),
    "canary",
}
RUN = {"id": "run_1", "status": "SUCCEEDED", "finished_at": "2026-01-01T00:00:00Z"}


def answer(
    status: str = "200 OK", headers: str = "", body: bytes | str = b"", *, length: int | None = None
) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    size = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + content


SHAPES: dict[str, bytes] = {
    "status line": f"{KEY} 200 OK\r\n\r\n".encode(),
    "status code": f"HTTP/1.1 {KEY} OK\r\n\r\n".encode(),
    "reason of an error": answer(f"403 {KEY}"),
    "over-long reason": answer("200 " + "x" * 8_170 + KEY + "x" * 9_000),
    "chunk size": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n{{}}\r\n0\r\n\r\n".encode(),
    "content length": f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n{{}}".encode(),
    "content encoding": answer(headers=f"Content-Encoding: {KEY}\r\n", body="{}"),
    "content encoding, cut": answer(headers=f"Content-Encoding: {'x' * 25}{KEY}\r\n", body="{}"),
    "transfer encoding": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {KEY}\r\n\r\n{{}}".encode(),
    "space before the colon": answer(headers=f"{KEY} : 1\r\n", body="{}"),
    "NUL in a header": answer(headers=f"X-Key: {KEY}\0\r\n", body="{}"),
    "over-long header": answer(headers=f"X-Key: {'x' * 8_150}{KEY}{'x' * 9_000}\r\n", body="{}"),
    "cut header block": f"HTTP/1.1 200 OK\r\nX-Key: {KEY}".encode(),
    "request id of a plain 400": answer("400 Bad Request", f"X-Request-Id: {KEY}\r\n"),
    "request id of a 200 that is no run": answer(headers=f"X-Request-Id: {KEY}\r\n", body="{}"),
    "every header of a 500": answer(
        "500 Oops", "".join(f"{name}: {KEY}\r\n" for name in ("ETag", "Retry-After", "Date", "Location"))
    ),
    "location of a redirect": answer("302 Found", f"Location: http://x/{KEY}\r\n"),
    "capabilities": answer("418 No", f"Lume-Capabilities: {KEY}\r\n"),
    "body of a 403": answer("403 No", body=f"<pre>{KEY}</pre>"),
    "body of a 403, percent": answer("403 No", body=f"?key={quote(KEY, safe='')}"),
    "body of a 403, JSON": answer("403 No", body=json.dumps({"detail": KEY}).replace("/", r"\/")),
    "body of a 403, Base64": answer("403 No", body=base64.b64encode(f"u:{KEY}".encode())),
    "body of a 403, upper case": answer("403 No", body=KEY.upper()),
    "run id of a 409": answer("409 No", body=json.dumps({"run_id": "run_7", "detail": KEY})),
    "status of a run": answer(body=json.dumps({**RUN, "id": KEY})),
    "HTML": answer(body=f"<html>{KEY}</html>"),
    "a cut body": answer("500 Oops", body=KEY, length=9_999),
}


def serving(raw: bytes) -> Loopback:
    """A server that gives every request the same bytes and hangs up."""
    return Loopback([forever(Sends(raw, b"", 0, closes=True))])


async def of_outcomes(outcomes: AsyncIterator[lume_async.Outcome[lume_async.LumeRun]]) -> None:
    async for outcome in outcomes:
        outcome.result()


Use = Callable[[Client], Awaitable[object]]
USES: dict[str, Use] = {
    "GET": lambda client: client.run_status("run_1"),
    "POST": lambda client: client.run(FLOW, SOURCE, force_rerun=True),
    "wait": lambda client: client.attach("run_1").wait(timeout=0),
    "as_completed": lambda client: of_outcomes(client.as_completed(["run_1"], timeout=0.01)),
    "run_many": lambda client: of_outcomes(client.run_many([RunRequest(FLOW, SOURCE)], timeout=0.01)),
    "list": lambda client: anext(client.list_runs()),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("raw", SHAPES.values(), ids=SHAPES)
async def test_nothing_that_fails_shows_the_key(
    raw: bytes, use: Use, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[object] = []
    async with (
        serving(raw) as server,
        Client(
            KEY, base_url=server.url, proxy=False, retry=Retry(attempts=1), hooks=[events.append]
        ) as client,
    ):
        with pytest.raises((LumeError, TimeoutError)) as caught:
            await use(client)

    assert_silent(shown_by(caught.value), *SPELLINGS)
    records = (f"{record.getMessage()} {record.args!r} {vars(record)!r}" for record in caplog.records)
    assert_silent(records, *SPELLINGS)
    assert events
    assert_silent(map(repr, events), *SPELLINGS)


@pytest.mark.parametrize("use", [USES["GET"], USES["POST"]], ids=["GET", "POST"])
@pytest.mark.parametrize("raw", SHAPES.values(), ids=SHAPES)
async def test_no_span_shows_the_key(raw: bytes, use: Use) -> None:
    package("opentelemetry.sdk")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    try:
        async with (
            serving(raw) as server,
            Client(KEY, base_url=server.url, proxy=False, retry=Retry(attempts=1)) as client,
        ):
            with pytest.raises((LumeError, TimeoutError)):
                await use(client)
    finally:
        trace._TRACER_PROVIDER = before

    assert exporter.get_finished_spans()
    assert_silent((span.to_json() for span in exporter.get_finished_spans()), *SPELLINGS)


@pytest.mark.thorough
@pytest.mark.parametrize("shape", SHAPES)
def test_the_command_line_does_not_show_it(shape: str) -> None:
    """It has a loop of its own, so it is asked once, not once for each of ours."""

    async def ended() -> tuple[int | None, tuple[bytes, bytes]]:
        async with serving(SHAPES[shape]) as server:
            env = {"LUME_API_KEY": KEY, "PATH": "", "HOME": "/nonexistent"}
            done = await fork(lume_server(), MODULE, env, ("--base-url", server.url, "-v", "status", "run_1"))
            output = await done.communicate()
            return done.returncode, output

    code, output = asyncio.run(ended())
    assert code
    assert output[1]
    assert_silent((part.decode(errors="replace") for part in output), *SPELLINGS)
