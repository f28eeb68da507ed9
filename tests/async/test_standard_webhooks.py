"""Deliveries that can't be replayed: the headers of Standard Webhooks, checked with other people's programs too."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from components import package

from lume_async import ConfigurationError, WebhookSignatureError, webhooks
from lume_async.webhooks import SIGNATURE_HEADER, Once, WebhookEvent, aiohttp_handler, asgi_app, parse, verify
from lume_local._runs.deliveries.webhooks import signed_headers

BODY = b'{"event": "run.finished", "run_id": "run_1", "status": "SUCCEEDED", "source_path": "\xc3\xa9.csv"}'
RAW = "a secret of some length"
KEY = bytes(range(32))
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock."""

    def at(seconds: float) -> None:
        monkeypatch.setattr(webhooks.time, "time", lambda: seconds)

    at(NOW)
    return at


def signed(*secrets: str, at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    """The headers as the embedded server sends them."""
    return signed_headers(tuple(secret.encode() for secret in secrets or (RAW,)), "dlv_1", at, body)


@pytest.mark.parametrize("secret", [RAW, WHSEC, "whsec", "ünïcode"])
def test_what_the_server_signs_is_verified(secret: str) -> None:
    headers = signed(secret)
    verify(BODY, headers, secret)
    verify(BODY, {name.upper(): value for name, value in headers.items()}, ["other", secret.encode()])
    verify(BODY, headers[SIGNATURE_HEADER], secret)
    for other in (BODY + b" ", b""):
        with pytest.raises(WebhookSignatureError, match="does not match"):
            verify(other, headers, secret)
    with pytest.raises(WebhookSignatureError, match="does not match"):
        verify(BODY, headers, "other")


@pytest.mark.parametrize("age", [-300, -1, 0, 299, 300])
def test_a_delivery_of_now(now: Callable[[float], None], age: float) -> None:
    now(NOW + age)
    verify(BODY, signed(), RAW)


@pytest.mark.parametrize(
    ("age", "words"), [(301, "301 s ago"), (-301, "301 s in the future"), (10**6, "replayed")]
)
def test_a_recorded_delivery_is_refused(now: Callable[[float], None], age: float, words: str) -> None:
    now(NOW + age)
    with pytest.raises(WebhookSignatureError, match=words):
        verify(BODY, signed(), RAW)
    verify(BODY, signed(), RAW, tolerance=10**7)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("webhook-id", "dlv_2", "does not match"),
        ("webhook-id", None, "webhook-id is missing"),
        ("webhook-timestamp", str(NOW + 1), "does not match"),
        ("webhook-timestamp", None, "webhook-timestamp is missing"),
        ("webhook-timestamp", "now", "malformed"),
        ("webhook-timestamp", "9" * 5000, "malformed"),
        ("webhook-timestamp", "-1", "malformed"),
        ("webhook-timestamp", "٣", "malformed"),
        ("webhook-signature", None, "webhook-signature is missing"),
        ("webhook-signature", "v1,", "does not match"),
        ("webhook-signature", "v1,é\udcff", "does not match"),
        ("webhook-signature", "v2,AAAA v1a,AAAA nothing", "does not match"),
    ],
)
def test_headers_that_were_changed(name: str, value: str | None, words: str) -> None:
    headers = signed()
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    with pytest.raises(WebhookSignatureError, match=words):
        verify(BODY, headers, RAW)


def test_headers_that_were_left_out() -> None:
    """Servers without them are still understood, unless the receiver knows better."""
    own = {SIGNATURE_HEADER: signed()[SIGNATURE_HEADER]}
    verify(BODY, own, RAW)
    for given in (own, own[SIGNATURE_HEADER], {}):
        with pytest.raises(WebhookSignatureError, match="webhook-id is missing"):
            verify(BODY, given, RAW, require_timestamp=True)
    with pytest.raises(WebhookSignatureError, match=f"{SIGNATURE_HEADER} is missing"):
        verify(BODY, {}, RAW)


def test_two_secrets_sign_during_a_rotation() -> None:
    headers = signed("new", WHSEC)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in ("new", WHSEC, ["newest", WHSEC]):
        verify(BODY, headers, secret)
    verify(BODY, headers[SIGNATURE_HEADER], "new")
    with pytest.raises(WebhookSignatureError):
        verify(BODY, headers, "newest")


@pytest.mark.parametrize("secret", ["whsec_", "whsec_é", "whsec_AAA", "whsec_ AAAA"])
def test_a_secret_that_was_copied_in_part(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="base64"):
        verify(BODY, signed(), secret)


@pytest.mark.parametrize("handler", [aiohttp_handler, asgi_app])
async def test_the_ready_handlers_check_the_time(now: Callable[[float], None], handler: object) -> None:
    async def status(headers: dict[str, str], **options: bool) -> int:
        if handler is aiohttp_handler:
            return (await aiohttp_handler(print, RAW, **options)(Request(headers))).status  # type: ignore[arg-type]
        sent: list[int] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": BODY}

        async def send(message: dict[str, int]) -> None:
            sent.append(message.get("status", 0))

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "headers": pairs}
        await asgi_app(print, RAW, **options)(scope, receive, send)  # type: ignore[arg-type]
        return sent[0]

    own = {SIGNATURE_HEADER: signed()[SIGNATURE_HEADER]}
    assert [await status(signed()), await status(own)] == [204, 204]
    assert await status(own, require_timestamp=True) == 401
    now(NOW + 301)
    assert await status(signed()) == 401


class Request:
    """As much of an aiohttp request as the handler looks at."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers, self.content = headers, self

    async def iter_any(self):  # type: ignore[no-untyped-def]
        yield BODY


# -- other people's programs


@pytest.mark.parametrize("secret", [WHSEC, RAW])
def test_the_standardwebhooks_package_agrees(now: Callable[[float], None], secret: str) -> None:
    standard = package("standardwebhooks")
    at = int(datetime.now(UTC).timestamp())  # it reads its clock in another way
    now(at)
    # Theirs are base64 always: a secret of ours that is not, is encoded for it.
    other = standard.Webhook(secret if secret == WHSEC else base64.b64encode(RAW.encode()).decode())
    assert other.verify(BODY, signed(secret, at=at)) == json.loads(BODY)
    assert other.verify(BODY, signed("new", secret, at=at)) == json.loads(BODY)
    with pytest.raises(Exception, match="No matching signature"):
        other.verify(BODY, signed("other", at=at))
    theirs = other.sign("msg_1", datetime.fromtimestamp(at, UTC), BODY.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": theirs}
    verify(BODY, headers, secret)
    with pytest.raises(WebhookSignatureError):
        verify(BODY + b" ", headers, secret)


# -- a memory that outlives the process

EVENT = parse(BODY)


async def test_a_restart_repeats_nothing(tmp_path: Path) -> None:
    seen: list[str] = []

    def handler(event: WebhookEvent) -> None:
        seen.append(event.run_id)

    for _ in range(3):
        once = Once(handler, path=tmp_path / "handled.sqlite")
        await once(EVENT)
        await once(EVENT)

    assert seen == ["run_1"]


async def test_what_failed_runs_again_after_a_restart(tmp_path: Path) -> None:
    seen: list[str] = []

    def handler(event: WebhookEvent) -> None:
        seen.append(event.run_id)
        if len(seen) == 1:
            raise OSError("the first time")

    with pytest.raises(OSError, match="the first time"):
        await Once(handler, path=tmp_path / "handled.sqlite")(EVENT)
    await Once(handler, path=str(tmp_path / "handled.sqlite"))(EVENT)
    await Once(handler, path=tmp_path / "handled.sqlite")(EVENT)

    assert seen == ["run_1"] * 2


async def test_the_file_stays_bounded(tmp_path: Path) -> None:
    seen: list[str] = []
    once = Once(lambda event: seen.append(event.run_id), remember=2, path=tmp_path / "handled.sqlite")
    for name in ("a", "b", "b", "c", "a", "c"):
        await once(parse(BODY.replace(b"run_1", name.encode())))

    assert seen == ["a", "b", "c", "a"]


CHILD = """
import asyncio, os, sys
from lume_async.webhooks import Once, parse
def handler(event):
    print(event.run_id, flush=True)
async def main():
    await Once(handler, path=sys.argv[1])(parse(sys.argv[2].encode()))
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""


def test_a_process_that_was_killed_after_the_handler_repeats_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "handled.sqlite"), BODY.decode()]
    printed = [subprocess.run(command, capture_output=True, env=os.environ).stdout for _ in range(2)]

    assert printed == [b"run_1\n", b""]


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, b"1", ["1"]])
def test_a_header_that_is_no_string_is_named(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} in signature must be a string, not {type(value).__name__}"):
        verify(BODY, {**signed(), name: value}, RAW)  # type: ignore[dict-item]
