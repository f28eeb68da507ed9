"""`lume_sync.testing`: a synchronous fake client, signed webhooks, and default clients that can be forgotten."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

import lume_async
import lume_sync
from lume_async.webhooks import parse
from lume_sync.testing import (
    FakeAnswer,
    FakeClock,
    FakeRequest,
    fake_client,
    reset_default_clients,
    run_json,
    sign_webhook,
)
from lume_sync.webhooks import verify

BODY = b'{"event": "run.finished", "run_id": "run_1", "status": "SUCCEEDED"}'


def test_a_fake_client_takes_no_time_of_its_own() -> None:
    polls = 0

    def answer(request: FakeRequest) -> FakeAnswer:
        nonlocal polls
        if request.method == "POST":
            return FakeAnswer(201, run_json("run_1", "CREATED"))
        polls += 1
        return FakeAnswer(503) if polls < 3 else FakeAnswer(200, run_json("run_1", "SUCCEEDED"))

    clock = FakeClock()
    client, transport = fake_client(answer, clock=clock)
    run = client.run("customer_cleaner:v1", "customers.csv").wait(timeout=3600)
    assert isinstance(run, lume_sync.LumeRun)
    assert run.status == "SUCCEEDED"
    assert [request.method for request in transport.requests] == ["POST", "GET", "GET", "GET"]
    assert clock.sleeps


def test_its_errors_are_those_of_the_client() -> None:
    client, _ = fake_client([FakeAnswer(404, {"title": "no such run"})])
    with client, pytest.raises(lume_sync.RunNotFoundError):
        client.run_status("run_1")


@pytest.mark.parametrize("secret", ["a secret", b"a secret", "whsec_" + base64.b64encode(b"x" * 24).decode()])
def test_a_webhook_that_was_signed_is_accepted(secret: str | bytes) -> None:
    headers = sign_webhook(BODY, secret)
    verify(BODY, headers["X-Lume-Signature-256"], secret)
    verify(BODY, headers, secret)
    assert parse(BODY).run_id == "run_1"
    with pytest.raises(lume_sync.WebhookSignatureError, match="does not match"):
        verify(BODY + b" ", headers, secret)
    old = sign_webhook(BODY, secret, at=datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(lume_sync.WebhookSignatureError, match="was signed 36"):
        verify(BODY, old, secret)


def test_the_default_clients_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_API_KEY", "key")
    for url in ("http://one.test", "http://two.test"):
        monkeypatch.setenv("LUME_BASE_URL", url)
        reset_default_clients()
        assert lume_async.default_client().base_url == url
        assert lume_sync.default_client().base_url == url
    reset_default_clients()
    reset_default_clients()
