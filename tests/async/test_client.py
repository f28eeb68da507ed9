"""The client itself: how it is made, closed and shown; and that it never tells its key."""

import copy
import gc
import pickle
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.silence import assert_silent, shown_by

import lume_async
from lume_async import (
    Client,
    ClientClosedError,
    ConfigurationError,
    RunStatus,
    RunStatusChanged,
    _api,
)
from lume_async._base.secret import Secret
from lume_async.testing import FakeAnswer, fake_client, run_json

CANARY = "canary-2718281828"
URL = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "LUME_API_KEY",
        "LUME_BASE_URL",
        "LUME_REQUEST_TIMEOUT",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)


# Making one


def test_it_needs_no_event_loop_to_be_made() -> None:
    assert repr(Client("k", base_url=URL)) == f"Client({URL!r})"


def test_an_asynchronous_function_is_no_hook() -> None:
    async def hook(event: object) -> None: ...

    with pytest.raises(TypeError, match="a hook must be a plain function"):
        Client("k", base_url=URL, hooks=[hook])


def test_a_client_that_was_not_made_has_a_repr() -> None:
    assert repr(Client.__new__(Client)) == "Client(unfinished)"


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_does_not_travel(carry: Callable[[Client], object]) -> None:
    with pytest.raises(TypeError, match="a Client can't be pickled"):
        carry(Client("k", base_url=URL))


# Using one


async def test_its_block_closes_it() -> None:
    client, transport = fake_client([])
    async with client as entered:
        assert entered is client

    assert transport.closed
    with pytest.raises(ClientClosedError):
        await client.run_status("run_1")


@pytest.mark.parametrize("error", [KeyError, ClientClosedError])
async def test_its_block_swallows_nothing(error: type[Exception]) -> None:
    client, transport = fake_client([])
    with pytest.raises(error):
        async with client:
            raise error

    assert transport.closed


async def test_a_handle_of_a_closed_client() -> None:
    client, _ = fake_client([])
    run = client.attach("run_1")
    await client.aclose()

    for call in (run.refresh(), run.cancel(), run.wait(), anext(run.watch())):
        with pytest.raises(ClientClosedError):
            await call


async def test_a_change_of_status_is_told_once() -> None:
    events: list[Any] = []
    client, _ = fake_client(
        [FakeAnswer(200, run_json("run_1", status)) for status in ("CREATED", "CREATED", "FAILED")],
        hooks=[events.append],
    )
    run = client.attach("run_1")
    for _ in range(3):
        await run.refresh()

    assert [event for event in events if isinstance(event, RunStatusChanged)] == [
        RunStatusChanged("run_1", None, RunStatus.CREATED),
        RunStatusChanged("run_1", RunStatus.CREATED, RunStatus.FAILED),
    ]


async def test_a_submitted_run_is_seen_for_the_first_time() -> None:
    events: list[Any] = []
    answers = [FakeAnswer(201, run_json("run_1", "CREATED")), FakeAnswer(200, run_json("run_1", "SUCCEEDED"))]
    client, _ = fake_client(answers, hooks=[events.append])

    await (await client.run("f:v1", "source")).wait()

    assert [event for event in events if isinstance(event, RunStatusChanged)] == [
        RunStatusChanged("run_1", None, RunStatus.CREATED),
        RunStatusChanged("run_1", RunStatus.CREATED, RunStatus.SUCCEEDED),
    ]


# Secrets: a canary through every way to fail


def bad_key(ending: str) -> Secret:
    return Secret(CANARY + ending)


@pytest.mark.parametrize(
    ("make", "environment"),
    [
        (lambda: Client(str.__str__(Secret(CANARY))), {}),
        (lambda: Client(str.__str__(bad_key("\x01")), base_url=URL), {}),
        (lambda: Client(str.__str__(bad_key("ü")), base_url=URL), {}),
        (lambda: Client(str.__str__(Secret(CANARY)), base_url="nonsense"), {}),
        (lambda: Client(str.__str__(Secret(CANARY)), base_url=URL, request_timeout=-1), {}),
        (lambda: Client(str.__str__(Secret(CANARY)), base_url=URL, proxy="nonsense"), {}),
        (lambda: Client(str.__str__(Secret(CANARY)), base_url=URL, hooks=[5]), {}),  # type: ignore[list-item]
        (lambda: lume_async.init(str.__str__(Secret(CANARY))), {}),
        (lambda: lume_async.init(str.__str__(bad_key("\n\n\x01")), base_url=URL), {}),
        (lambda: lume_async.init(str.__str__(Secret(CANARY)), base_url=URL, max_connections=0), {}),
        (Client, {"LUME_API_KEY": CANARY}),
        (Client, {"LUME_API_KEY": f"{CANARY}ü", "LUME_BASE_URL": URL}),
        (Client, {"LUME_API_KEY": CANARY, "LUME_BASE_URL": "nonsense"}),
        (lume_async.default_client, {"LUME_API_KEY": CANARY}),
    ],
)
def test_no_wrong_setting_tells_the_key(
    make: Callable[[], object], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_api, "_default", {})
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises((ConfigurationError, TypeError, ValueError)) as caught:
        make()

    assert_silent(shown_by(caught.value), CANARY)


@pytest.mark.parametrize("answer", [f"{CANARY}\x01", f"{CANARY}ü"])
@pytest.mark.parametrize("waits", [False, True])
async def test_no_wrong_answer_of_the_key_function_is_told(answer: str, waits: bool) -> None:
    async def later() -> str:
        return answer

    client, _ = fake_client([], api_key=later if waits else lambda: answer)

    with pytest.raises(ConfigurationError) as caught:
        await client.run_status("run_1")

    assert_silent(shown_by(caught.value), CANARY)


def everything_that(client: Client) -> Iterator[object]:
    """What a client holds, level by level."""
    todo, seen = [client], set[int]()
    while todo:
        item = todo.pop()
        if id(item) not in seen and not isinstance(item, (type, types.ModuleType, types.FunctionType)):
            seen.add(id(item))
            yield item
            if type(item).__module__.startswith("lume_async"):
                todo += gc.get_referents(item)


async def test_no_repr_of_any_part_tells_the_key() -> None:
    client, _ = fake_client(
        lambda request: FakeAnswer(200, run_json("run_1", "CREATED")), api_key=Secret(CANARY)
    )
    run = await client.run_status("run_1")
    parts = list(everything_that(client))

    assert len(parts) > 10
    assert all(CANARY not in repr(part) for part in [*parts, run, run.metadata])
