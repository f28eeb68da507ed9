"""For tests of code that uses `lume_sync`: `fake_client` of its own, the rest of `lume_async.testing`."""

from collections.abc import Iterable
from typing import Unpack

from lume_async import ApiKey, ClientOptions
from lume_async import testing as _testing
from lume_async.testing import (
    Answerer,
    FakeAnswer,
    FakeClock,
    FakeRequest,
    FakeTransport,
    no_backoff,
    reset_default_clients,
    run_json,
    sign_webhook,
)
from lume_sync._client import Client

__all__ = [
    "Answerer",
    "FakeAnswer",
    "FakeClock",
    "FakeRequest",
    "FakeTransport",
    "fake_client",
    "no_backoff",
    "reset_default_clients",
    "run_json",
    "sign_webhook",
]


def fake_client(
    answers: Answerer | Iterable[FakeAnswer | Exception],
    *,
    clock: FakeClock | None = None,
    api_key: ApiKey | None = "test-key",
    base_url: str = "http://lume.test",
    **options: Unpack[ClientOptions],
) -> tuple[Client, FakeTransport]:
    """Return a real client over a fake transport and a fake clock, and the transport.

    Args:
        answers: a function from request to answer, which is called in another thread, or an iterable of answers.
        clock: the fake clock; default: a new one.
        options: further arguments of `Client`.

    Examples:
        >>> client, transport = fake_client([FakeAnswer(200, run_json("run_1", "SUCCEEDED"))])
        >>> run = client.run_status("run_1")
        >>> print(run.status, transport.requests[0].path)
        SUCCEEDED /v1/runs/run_1
    """
    core, transport = _testing.fake_client(
        answers, clock=clock, api_key=api_key, base_url=base_url, **options
    )
    return Client._wrap(core), transport
