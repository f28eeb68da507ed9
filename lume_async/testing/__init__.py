"""For tests of code that uses lume: a scripted transport, a fake clock, no back-off, signed webhooks.

    def answer(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer(200, run_json("run_1", "SUCCEEDED"))

    client, transport = fake_client(answer)
    run = await client.run("customer_cleaner:v1", "customers.csv")

With a real server, such as `lume_local`, `no_backoff()` is enough.
"""

from lume_async.testing._fakes import (
    Answerer,
    FakeAnswer,
    FakeClock,
    FakeRequest,
    FakeTransport,
    fake_client,
    no_backoff,
    reset_default_clients,
    run_json,
    sign_webhook,
)

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
