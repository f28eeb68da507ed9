"""`Client(transport=...)` of lume_sync: its methods run on the private loop."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from lume_sync import ApiConnectionError, Client, ConfigurationError, Response, Retry, Transport
from lume_sync.testing import FakeAnswer, FakeTransport, run_json

OPTIONS: dict[str, Any] = {"api_key": "test-key", "base_url": "http://lume.test"}


class Threads(Transport):
    def __init__(self, *_default: Transport) -> None:
        self.threads: set[threading.Thread] = set()
        self.closed = False

    async def request(self, method: str, path: str, *, headers: Mapping[str, str], **more: Any) -> Response:
        self.threads.add(threading.current_thread())
        await asyncio.sleep(0)
        return Response(200, {}, orjson.dumps(run_json(path.rsplit("/", 1)[1], "SUCCEEDED")))

    async def aclose(self) -> None:
        self.threads.add(threading.current_thread())
        self.closed = True


def test_its_methods_run_on_the_loop_of_the_package() -> None:
    transport = Threads()
    with Client(**OPTIONS, transport=transport) as client:
        assert client.run_status("run_1").status == "SUCCEEDED"

    assert transport.closed
    assert len(transport.threads) == 1
    assert threading.current_thread() not in transport.threads


def test_the_default_can_be_wrapped() -> None:
    made: list[Transport] = []

    def wrapped(default: Transport) -> Transport:
        made.append(default)
        return FakeTransport([FakeAnswer(200, run_json("run_1", "FAILED"))])

    with Client(**OPTIONS, transport=wrapped) as client:
        assert client.run_status("run_1").status == "FAILED"

    assert len(made) == 1
    with Client(**OPTIONS, transport=Threads) as client:
        client.run_status("run_1")


def test_its_errors_and_refusals_are_the_same() -> None:
    with pytest.raises(ConfigurationError, match="proxy and ssl"):
        Client(**OPTIONS, transport=Threads(), proxy="http://proxy:1")

    error = KeyError("mine")
    fake = FakeTransport([error])
    with (
        Client(**OPTIONS, transport=fake, retry=Retry(attempts=1)) as client,
        pytest.raises(ApiConnectionError, match="the transport failed: KeyError") as caught,
    ):
        client.run_status("run_1")
    assert caught.value.__cause__ is error
