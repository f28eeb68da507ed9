"""For tests of code that uses lume: a scripted transport, a fake clock, no back-off, signed webhooks.

    def answer(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer(200, run_json("run_1", "SUCCEEDED"))

    client, transport = fake_client(answer)
    run = await client.run("customer_cleaner:v1", "customers.csv")

With a real server, such as `lume_local`, `no_backoff()` is enough. `simulate` runs a whole program on virtual time,
against a server in memory, over a network that loses things.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from lume_async.testing._chance import Chance
    from lume_async.testing._loop import StuckError
    from lume_async.testing._server import RequestLimit, SimulatedServer
    from lume_async.testing._simulate import simulate
else:
    from lume_async._base.lazy import lazily as _lazily

    # Tests with scripted answers need no simulator, and those of lume_sync can't use it.
    _, __getattr__, __dir__ = _lazily(
        __name__,
        {
            "lume_async.testing._chance": "Chance",
            "lume_async.testing._loop": "StuckError",
            "lume_async.testing._server": "RequestLimit SimulatedServer",
            "lume_async.testing._simulate": "simulate",
        },
    )

__all__ = [
    "Answerer",
    "Chance",
    "FakeAnswer",
    "FakeClock",
    "FakeRequest",
    "FakeTransport",
    "RequestLimit",
    "SimulatedServer",
    "StuckError",
    "fake_client",
    "no_backoff",
    "reset_default_clients",
    "run_json",
    "sign_webhook",
    "simulate",
]
