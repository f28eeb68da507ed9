"""Webhooks: raw bytes only, constant outcomes for every malformed header, handlers that fail closed."""

import asyncio
import hashlib
import hmac
import io
import traceback
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from lume_async import ConfigurationError, LumeError, ResponseDecodeError, RunStatus, WebhookSignatureError
from lume_async.webhooks import (
    LARGEST_BODY,
    SIGNATURE_HEADER,
    Once,
    WebhookEvent,
    aiohttp_handler,
    asgi_app,
    parse,
    verify,
)

SECRET = "a secret of some length"


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "given", [SECRET, SECRET.encode(), [SECRET, SECRET], [SECRET, 5], [b"", SECRET], {SECRET: 1}]
)
@pytest.mark.parametrize("signature", ["sha256=00", "00" * 32, None, {}, {"webhook-id": "1"}])
@pytest.mark.parametrize("body", [b"x", "x"])
def test_no_secret_is_shown_by_a_traceback_with_locals(given: Any, signature: Any, body: Any) -> None:
    acts = [lambda: verify(body, signature, given)]
    if given in ([SECRET, 5], [b"", SECRET]):
        acts += [lambda: aiohttp_handler(print, given), lambda: asgi_app(print, given)]
    for act in acts:
        with pytest.raises((LumeError, TypeError)) as caught:
            act()
        frames = list(traceback.walk_tb(caught.value.__traceback__))[2:]
        shown = "".join(traceback.StackSummary.extract(frames, capture_locals=True).format())
        assert "webhooks" in shown
        assert SECRET not in shown


@pytest.mark.parametrize("given", [None, 5, [5], [None]])
def test_what_is_no_secret_is_told(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a string or bytes, not"):
        verify(b"x", "00" * 32, given)


def body_of(**changes: object) -> bytes:
    event = {
        "event": "run.finished",
        "run_id": "run_1",
        "status": "PARTIAL_FAILED",
        "flow_version": "f:v1",
        "source_path": "a.csv",
        "run_metadata": {"n": 1},
        "finished_at": "2026-01-01T00:00:00Z",
    }
    return orjson.dumps(event | changes)


BODY = body_of()


class TestVerify:
    @pytest.mark.parametrize(
        "body",
        [BODY, b'{"a" : 1.0,\n "b":1}', b'{"a":"\\u00e9"}', "é".encode(), b'{"a":1,"a":2}', b"", b"\x00\xff"],
    )
    @pytest.mark.parametrize("prefix", ["", "sha256="])
    def test_the_raw_body_is_what_counts(self, body: bytes, prefix: str) -> None:
        verify(body, prefix + signed(body), SECRET)
        verify(body, (prefix + signed(body).upper()).encode(), SECRET.encode())
        with pytest.raises(WebhookSignatureError):
            verify(body + b" ", prefix + signed(body), SECRET)

    @pytest.mark.parametrize("body", [{"a": 1}, "text", None, 1])
    def test_a_parsed_body_is_refused(self, body: object) -> None:
        with pytest.raises(TypeError, match="raw body"):
            verify(body, signed(b""), SECRET)  # type: ignore[arg-type]

    def test_rotation(self) -> None:
        for secret in ("old", "new"):
            verify(BODY, signed(BODY, secret), ["new", b"old"])
        with pytest.raises(WebhookSignatureError, match="does not match"):
            verify(BODY, signed(BODY, "older"), ["new", "old"])

    @pytest.mark.parametrize("secret", ["", "  ", b"", [], ["good", ""]])
    def test_an_empty_secret_is_refused(self, secret: object) -> None:
        with pytest.raises(ConfigurationError, match="secret"):
            verify(BODY, signed(BODY), secret)  # type: ignore[arg-type]

    @given(st.one_of(st.text(), st.binary()))
    def test_any_malformed_signature_is_one_error(self, signature: str | bytes) -> None:
        with pytest.raises(WebhookSignatureError):
            verify(BODY, signature, SECRET)


class TestParse:
    def test_all_of_it(self) -> None:
        event = parse(body_of(extra=1))
        assert (event.event, event.run_id, event.status) == (
            "run.finished",
            "run_1",
            RunStatus.PARTIAL_FAILED,
        )
        assert event.status.is_terminal
        assert event.finished_at is not None
        assert event.finished_at.utcoffset() is not None
        assert event.raw["extra"] == 1
        assert parse(body_of(status="SOMETHING_NEW")).status == "SOMETHING_NEW"

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"null", b"{", body_of(run_id=None), body_of(status=1), body_of(run_id="../x"),
         body_of(finished_at="yesterday"), body_of(run_metadata=[1])],
    )  # fmt: skip
    def test_what_is_no_event(self, body: bytes) -> None:
        with pytest.raises(ResponseDecodeError):
            parse(body)

    def test_the_place_is_told(self) -> None:
        with pytest.raises(ResponseDecodeError, match=r"@ \$\.run_id"):
            parse(orjson.dumps({"event": "run.finished", "status": "FAILED"}))


class TestOnce:
    async def test_an_event_is_handled_once(self) -> None:
        seen: list[WebhookEvent] = []
        once = Once(seen.append)
        for body in (BODY, BODY, body_of(status="FAILED")):
            await once(parse(body))
        assert [str(event.status) for event in seen] == ["PARTIAL_FAILED", "FAILED"]

    async def test_a_failed_handler_runs_again(self) -> None:
        calls = 0

        async def handler(_event: WebhookEvent) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise OSError("the database is away")

        once = Once(handler)
        with pytest.raises(OSError, match="away"):
            await once(parse(BODY))
        await once(parse(BODY))
        await once(parse(BODY))
        assert calls == 2

    async def test_deliveries_at_the_same_time_share_one_run_of_the_handler(self) -> None:
        calls, release = 0, asyncio.Event()

        async def handler(_event: WebhookEvent) -> None:
            nonlocal calls
            calls += 1
            await release.wait()

        once = Once(handler)
        deliveries = [asyncio.ensure_future(once(parse(BODY))) for _ in range(5)]
        await asyncio.sleep(0)
        deliveries[0].cancel()  # its connection broke
        release.set()
        results = await asyncio.gather(*deliveries, return_exceptions=True)
        assert calls == 1
        assert results[1:] == [None] * 4

    async def test_what_is_remembered_is_bounded(self) -> None:
        calls: list[WebhookEvent] = []
        once = Once(calls.append, remember=2)
        for run_id in ("a", "b", "c", "a"):
            await once(parse(body_of(run_id=run_id)))
        assert len(calls) == 4


class Handlers:
    """The same deliveries to both ready handlers; `on_event` raises for the run `broken`."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_event(self, event: WebhookEvent) -> None:
        if event.run_id == "broken":
            raise RuntimeError("boom")
        self.seen.append(event.run_id)


async def post_aiohttp(handlers: Handlers, method: str, headers: dict[str, str], body: bytes) -> int:
    app = web.Application()
    app.router.add_post("/lume", aiohttp_handler(handlers.on_event, SECRET))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/lume"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, url, data=io.BytesIO(body)) as response,
        ):
            return response.status
    finally:
        await runner.cleanup()


async def post_asgi(handlers: Handlers, method: str, headers: dict[str, str], body: bytes) -> int:
    app = asgi_app(handlers.on_event, SECRET)
    parts = [body[n : n + 100_000] for n in range(0, len(body), 100_000)] or [b""]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: object) -> None:
        sent.append(message)  # type: ignore[arg-type]

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "method": method, "headers": pairs}, receive, send)  # type: ignore[arg-type]
    return int(str(sent[0]["status"]))


@pytest.fixture(params=[post_aiohttp, post_asgi], ids=["aiohttp", "asgi"])
def post(request: pytest.FixtureRequest) -> object:
    return request.param


BROKEN = body_of(run_id="broken")
LARGE = b"x" * (LARGEST_BODY + 1)


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("POST", BODY, {SIGNATURE_HEADER: signed(BODY)}, 204),
        ("POST", BODY, {SIGNATURE_HEADER: "sha256=" + signed(BODY)}, 204),
        ("POST", BODY, {SIGNATURE_HEADER: signed(BODY, "other")}, 401),
        ("POST", BODY, {}, 401),
        ("POST", b"{}", {SIGNATURE_HEADER: signed(b"{}")}, 400),
        ("POST", BROKEN, {SIGNATURE_HEADER: signed(BROKEN)}, 500),
        ("POST", LARGE, {SIGNATURE_HEADER: signed(LARGE)}, 413),
        ("POST", BODY, {SIGNATURE_HEADER: signed(BODY), "Content-Encoding": "gzip"}, 415),
        ("GET", b"", {}, 405),
    ],
)
async def test_a_ready_handler_answers(
    post: Callable[..., object], method: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    handlers = Handlers()
    assert await post(handlers, method, headers, body) == status  # type: ignore[misc]
    assert handlers.seen == (["run_1"] if status == 204 else [])


@pytest.mark.parametrize("make", [aiohttp_handler, asgi_app])
def test_a_ready_handler_needs_a_secret(make: Callable[..., object]) -> None:
    with pytest.raises(ConfigurationError):
        make(print, "")


async def test_asgi_speaks_http_only_and_survives_a_lost_connection() -> None:
    async def nothing(*_messages: object) -> dict[str, object]:
        return {"type": "http.disconnect"}

    app = asgi_app(print, SECRET)
    with pytest.raises(NotImplementedError):
        await app({"type": "websocket"}, nothing, nothing)  # type: ignore[arg-type]
    await app({"type": "http", "method": "POST", "headers": []}, nothing, nothing)  # type: ignore[arg-type]
