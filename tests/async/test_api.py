"""The module-level functions: the same operations on one default client."""

from typing import Any

import pytest

import lume_async
from lume_async import ClientClosedError, ConfigurationError, _api
from lume_async.testing import FakeAnswer, FakeRequest, FakeTransport, fake_client, run_json

URL = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api, "_default", {})
    for name in ("LUME_API_KEY", "LUME_BASE_URL", "LUME_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def transport() -> FakeTransport:
    """That of a default client whose server knows one run, which has ended."""

    def answer(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer(201 if request.path == "/v1/runs" else 200, run_json("run_1", "SUCCEEDED"))

    client, transport = fake_client(answer)
    _api._default["client"] = client
    return transport


async def test_the_default_client_is_made_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="LUME_BASE_URL"):
        lume_async.attach("run_1")

    monkeypatch.setenv("LUME_API_KEY", "k")
    monkeypatch.setenv("LUME_BASE_URL", URL)

    assert lume_async.attach("run_1").id == "run_1"
    assert lume_async.default_client() is lume_async.default_client()
    assert lume_async.default_client().base_url == URL


def test_init_makes_it_at_once() -> None:
    lume_async.init("k", base_url=URL, request_timeout=5, max_connections=3)

    assert lume_async.default_client()._sender.settings.request_timeout == 5
    assert lume_async.default_client()._sender.settings.max_connections == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"base_url": URL}, ConfigurationError),
        ({"api_key": "k"}, ConfigurationError),
        ({"api_key": "k", "base_url": "x"}, ConfigurationError),
        ({"api_key": "k", "base_url": URL, "request_timeout": 0}, ConfigurationError),
        ({"api_key": "k", "base_url": URL, "nonsense": 1}, TypeError),
    ],
)
def test_a_wrong_setting_is_said_at_once(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        lume_async.init(**arguments)

    assert _api._default == {}


async def test_the_client_before_stays_open_for_its_handles(transport: FakeTransport) -> None:
    run = lume_async.attach("run_1")
    lume_async.init("k", base_url=URL)

    assert lume_async.default_client().base_url == URL
    await run.refresh()
    assert run.succeeded


async def test_aclose_closes_it_and_the_next_call_makes_another(
    transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lume_async.attach("run_1")
    await lume_async.aclose()
    await lume_async.aclose()

    with pytest.raises(ClientClosedError):
        await run.refresh()
    with pytest.raises(ConfigurationError):
        lume_async.default_client()


async def test_run_and_wait(transport: FakeTransport) -> None:
    run = await lume_async.run(
        "f:v1", "s.csv", {"batch": 7}, True, idempotency_key="mine", on_duplicate="attach"
    )
    await run.wait()

    assert run.succeeded
    [request] = transport.requests
    assert request.headers["Idempotency-Key"] == "mine"
    assert request.json() == {
        "flow_version": "f:v1",
        "source_path": "s.csv",
        "run_metadata": {"batch": 7},
        "force_rerun": True,
    }
