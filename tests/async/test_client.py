"""The client itself: how it is made, closed and shown; and that it never tells its key."""

import copy
import gc
import io
import logging
import pickle
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from loopback import Loopback, forever, html_502, redirect, reply, reset

import lume_async
from lume_async import (
    ApiError,
    Client,
    ClientClosedError,
    ConfigurationError,
    InvalidRequestError,
    LumeError,
    LumeRun,
    Retry,
    RunStatus,
    RunStatusChanged,
    _api,
)
from lume_async._base.secret import Secret
from lume_async.testing import FakeAnswer, fake_client, no_backoff, run_json

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


def test_what_is_missing_is_said_when_it_is_made() -> None:
    with pytest.raises(ConfigurationError, match="LUME_API_KEY"):
        Client(base_url=URL)
    with pytest.raises(ConfigurationError, match="LUME_BASE_URL"):
        Client("k")


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_API_KEY", "env-key")
    monkeypatch.setenv("LUME_BASE_URL", "http://env.test/")

    assert Client().base_url == "http://env.test"
    assert Client(base_url=URL).base_url == URL


def test_it_needs_no_event_loop_to_be_made() -> None:
    assert repr(Client("k", base_url=URL)) == f"Client({URL!r})"


def test_what_can_not_be_called_is_no_hook() -> None:
    with pytest.raises(TypeError, match="a hook must be callable"):
        Client("k", base_url=URL, hooks=["print"])  # type: ignore[list-item]


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


async def test_it_may_be_closed_twice() -> None:
    client, _ = fake_client([])
    await client.aclose()
    await client.aclose()


async def test_a_handle_of_a_closed_client() -> None:
    client, _ = fake_client([])
    run = client.attach("run_1")
    await client.aclose()

    for call in (run.refresh(), run.cancel(), run.wait(), anext(run.watch())):
        with pytest.raises(ClientClosedError):
            await call


async def test_run_status() -> None:
    client, transport = fake_client([FakeAnswer(200, run_json("run_1", "CREATED"))])

    run = await client.run_status("run_1")

    assert (run.id, run.status, run.idempotency_key, run.reused) == ("run_1", "CREATED", None, False)
    assert [(request.method, request.path) for request in transport.requests] == [("GET", "/v1/runs/run_1")]


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "a\n", "x" * 129, None, 5])
async def test_what_is_no_run_id_is_not_sent(run_id: Any) -> None:
    client, transport = fake_client([])

    with pytest.raises(InvalidRequestError):
        client.attach(run_id)
    with pytest.raises(InvalidRequestError):
        await client.run_status(run_id)
    assert transport.requests == []


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


OURS = tuple(str(Path(module.__file__).parent) for module in (lume_async, aiohttp) if module.__file__)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it hangs on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    for each in chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                yield frame


def assert_silent(error: BaseException, key: str = CANARY) -> None:
    """No text, no pickle and no local of a frame of ours or of aiohttp shows the key."""
    for each in chain(error):
        assert key not in f"{each} {each!r} {getattr(each, 'body', '')} {vars(each)!r}"
        if isinstance(each, LumeError):
            assert key.encode() not in pickle.dumps(each)
    shown = 0
    for frame in frames_of(error):
        shown += 1
        for name, value in frame.f_locals.items():
            assert key not in repr(value), f"{frame.f_code.co_qualname}: {name}"
    assert shown


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[io.StringIO]:
    """Everything that any logger says at DEBUG, with tracebacks."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


FAULTS = {
    "reset": [forever(reset())],
    "cut": [forever(reply(200, b'{"id": "run_1"}').cut("body"))],
    "html": [forever(html_502())],
    "no JSON": [forever(reply(200, b"<html>"))],
    "no run": [forever(reply(200, {"id": "run_1"}))],
    "too large": [reply(200, b"x" * 5_000)],
    "encoding": [reply(200, b"x", headers={"Content-Encoding": "br"})],
    "not gzip": [forever(reply(200, b"x", headers={"Content-Encoding": "gzip"}))],
    "redirect": [redirect(307, "http://127.0.0.1:2/stolen")],
    "long header": [forever(reply(200, b"{}", headers={"X": "y" * 70_000}))],
    "repeated": [forever(reply(401, f"there is no key {CANARY}"))],
    "repeated in JSON": [reply(403, {"detail": f"{CANARY} may not"})],
    "repeated on 200": [forever(reply(200, f"hello {CANARY}"))],
    **{
        str(status): [forever(reply(status))] for status in (400, 401, 403, 404, 409, 418, 422, 429, 500, 503)
    },
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("source", ["fixed", "function"])
async def test_no_failed_call_tells_the_key(fault: str, source: str, log: io.StringIO) -> None:
    async with Loopback(FAULTS[fault]) as server:
        client = Client(
            Secret(CANARY) if source == "fixed" else lambda: CANARY,
            base_url=server.url,
            proxy=False,
            retry=Retry(attempts=2),
            max_response_bytes=4_000,
            hooks=[lambda event: log.write(f"{event!r}\n")],
        )
        with no_backoff(), pytest.raises(ApiError) as looked:
            await client.run_status("run_1")
        await client.aclose()

    assert_silent(looked.value)
    assert CANARY not in log.getvalue()
    assert "GET /v1/runs/{id}" in log.getvalue()


@pytest.mark.parametrize("fault", ["reset", "html", "no JSON", "409", "repeated", "422"])
async def test_no_failed_submission_tells_the_key(fault: str, log: io.StringIO) -> None:
    async with Loopback(FAULTS[fault]) as server:
        client = Client(Secret(CANARY), base_url=server.url, proxy=False, retry=Retry(attempts=2))
        with no_backoff(), pytest.raises(ApiError) as caught:
            await client.run("f", "s", force_rerun=fault == "reset")
        await client.aclose()

    assert_silent(caught.value)
    assert CANARY not in log.getvalue()


async def test_no_timeout_tells_the_key(log: io.StringIO) -> None:
    async with Loopback([forever(reply().stall())]) as server:
        client = Client(Secret(CANARY), base_url=server.url, proxy=False, request_timeout=0.05)
        with no_backoff(), pytest.raises(TimeoutError) as caught:
            await client.attach("run_1").wait(timeout=0)
        await client.aclose()

    assert_silent(caught.value)
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize("use", ["refused", "closed"])
async def test_no_call_without_an_answer_tells_the_key(use: str, log: io.StringIO) -> None:
    async with Loopback([], refusing=True) as server:
        client = Client(Secret(CANARY), base_url=server.url, proxy=False, retry=Retry(attempts=1))
        if use == "closed":
            await client.aclose()
        with pytest.raises(LumeError) as caught:
            await client.run_status("run_1")
        await client.aclose()

    assert_silent(caught.value)
    assert CANARY not in log.getvalue()


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

    assert_silent(caught.value)


@pytest.mark.parametrize("answer", [f"{CANARY}\x01", f"{CANARY}ü"])
@pytest.mark.parametrize("waits", [False, True])
async def test_no_wrong_answer_of_the_key_function_is_told(answer: str, waits: bool) -> None:
    async def later() -> str:
        return answer

    client, _ = fake_client([], api_key=later if waits else lambda: answer)

    with pytest.raises(ConfigurationError) as caught:
        await client.run_status("run_1")

    assert_silent(caught.value)


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


# A run that is made by a client


async def test_a_submitted_run() -> None:
    client, _ = fake_client([FakeAnswer(201, run_json("run_1", "CREATED"), {"ETag": '"1"'})])

    run = await client.run("customer_cleaner:v1", "customers.csv")

    assert isinstance(run, LumeRun)
    assert (run.id, run.status) == ("run_1", "CREATED")
