"""`Client(transport=...)`: what a transport of the user's gets, and what becomes of what it does."""

import asyncio
import random
import re
from collections.abc import AsyncIterable, Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import orjson
import pytest
from loopback import Loopback, reply

import lume_async
from lume_async import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    Client,
    ClientClosedError,
    ConfigurationError,
    MissingLibraryError,
    Receiver,
    Response,
    Retry,
    ServerError,
    SubmissionUnknownError,
    Transport,
)
from lume_async.testing import (
    FakeAnswer,
    FakeTransport,
    SimulatedServer,
    fake_client,
    no_backoff,
    run_json,
    simulate,
)

URL = "http://lume.test"
Step = Callable[[], Any]


class Own:
    """Does what the steps say, one for each request: it returns or raises what a step returns."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.sent: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.closed = 0

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | AsyncIterable[bytes] | None,
        timeout: float,
        receiver: Receiver | None = None,
    ) -> Response:
        content = body if isinstance(body, bytes) or body is None else b"".join([part async for part in body])
        self.sent.append((method, path, headers, content or b""))
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            step = await step(receiver)
        return step  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        self.closed += 1


def found(run_id: str = "run_1", status: str = "SUCCEEDED", **headers: str) -> Response:
    return Response(200, headers, orjson.dumps(run_json(run_id, status)))


def client_of(transport: Any, **options: Any) -> Client:
    return Client(**{"api_key": "test-key", "base_url": URL, "transport": transport, **options})


class Passing(Transport):
    """Adds a header to each request of another transport."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def request(self, method: str, path: str, *, headers: Mapping[str, str], **more: Any) -> Response:
        return await self._inner.request(method, path, headers={**headers, "X-Signature": path[::-1]}, **more)

    async def aclose(self) -> None:
        await self._inner.aclose()


# What it gets, and what it returns


async def test_it_gets_all_headers_and_returns_some_in_any_case() -> None:
    own = Own(found(**{"x-request-id": "req_1", "ETAG": '"a"'}))
    async with client_of(own, user_agent="mine/1", headers={"X-Team": "sales"}) as client:
        with client.answers() as seen:
            run = await client.run_status("run_1")

    assert (run.status, seen[0].request_id) == ("SUCCEEDED", "req_1")
    method, path, headers, body = own.sent[0]
    assert (method, path, body) == ("GET", "/v1/runs/run_1", b"")
    assert headers["lume-api-key"] == headers["LUME-API-KEY"] == "test-key"
    assert (headers["accept"], headers["x-team"]) == ("application/json", "sales")
    assert headers["user-agent"].startswith("mine/1 lume-client/")
    assert "test-key" not in repr(dict(headers))
    assert own.closed == 1


async def test_one_that_goes_by_the_books_is_the_same_as_the_default() -> None:
    """Also the test double is one, and needs nothing private."""
    fake = FakeTransport([FakeAnswer(200, run_json("run_1", "FAILED"))])
    transport: Transport = fake

    async with client_of(transport) as client:
        assert (await client.run_status("run_1")).status == "FAILED"

    assert fake.closed


async def test_a_mock_will_do() -> None:
    mock = AsyncMock()
    mock.request.return_value = found()
    async with client_of(mock) as client:
        await client.run_status("run_1")

    mock.request.assert_awaited_once()
    mock.aclose.assert_awaited()


async def test_the_default_client_takes_one() -> None:
    own = Own(found())
    lume_async.init("test-key", base_url=URL, transport=own)
    try:
        assert (await lume_async.run_status("run_1")).status == "SUCCEEDED"
    finally:
        await lume_async.aclose()

    assert own.closed == 1


async def test_inheriting_is_enough_to_be_closed() -> None:
    class Canned(Transport):
        async def request(self, *_place: Any, **_more: Any) -> Response:
            return Response(404)

    async with client_of(Canned()) as client:
        with pytest.raises(ApiError, match="404"):
            await client.run_status("run_1")


@pytest.mark.parametrize("make", [Passing, lambda default: Passing(default)])
async def test_the_default_can_be_wrapped(make: Any) -> None:
    async with (
        Loopback([reply(200, run_json("run_1", "SUCCEEDED"))]) as server,
        client_of(make, base_url=f"{server.url}/base", proxy=False) as client,
    ):
        await client.run_status("run_1")

    sent = server.requests[0]
    assert sent.target == "/base/v1/runs/run_1"
    assert sent.headers["x-signature"] == "1_nur/snur/1v/"
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["user-agent"].startswith("lume-client/")


async def test_a_request_of_the_users_keeps_its_own_accept() -> None:
    own = Own(Response(200, {}, b"a,b"))
    async with client_of(own) as client:
        await client.request("GET", "/x", headers={"accept": "text/csv"})

    assert [value for name, value in own.sent[0][2].items() if name.lower() == "accept"] == ["text/csv"]


async def test_a_body_that_is_streamed_can_be_iterated(tmp_path: Path) -> None:
    import hashlib

    stored = {"source_path": "upload://a", "bytes": 6, "sha256": hashlib.sha256(b"id\n1\n2").hexdigest()}
    (tmp_path / "a.csv").write_bytes(b"id\n1\n2")
    own = Own(Response(201, {}, orjson.dumps(stored)))
    async with client_of(own) as client:
        assert await client.upload_file(tmp_path / "a.csv") == "upload://a"

    assert own.sent[0][3] == b"id\n1\n2"


# Receivers


async def downloaded(tmp_path: Path, *steps: Any) -> bytes:
    async with client_of(Own(*steps), retry=Retry(backoff=0)) as client:
        file = await client.attach("run_1").download("mapped", tmp_path / "rows.csv")
    return file.read_bytes()


async def test_a_transport_may_ignore_the_receiver(tmp_path: Path) -> None:
    assert await downloaded(tmp_path, Response(200, {"content-length": "5"}, b"id\n1\n")) == b"id\n1\n"


async def test_a_transport_may_give_it_the_body_as_it_comes(tmp_path: Path) -> None:
    async def streamed(receiver: Receiver) -> Response:
        headers = {"content-length": "5", "etag": '"a"'}
        await receiver.begin(200, headers)
        for chunk in (b"id\n", b"1\n"):
            await receiver.write(chunk)
        await receiver.flush()
        return Response(200, headers)

    assert await downloaded(tmp_path, streamed) == b"id\n1\n"


async def test_the_default_gives_it_the_body_through_a_wrapper(tmp_path: Path) -> None:
    async with (
        Loopback([reply(200, b"id\n1\n")]) as server,
        client_of(Passing, base_url=server.url, proxy=False) as client,
    ):
        file = await client.attach("run_1").download("mapped", tmp_path)

    assert file.read_bytes() == b"id\n1\n"


async def test_a_broken_body_is_continued(tmp_path: Path) -> None:
    headers = {"etag": '"a"', "content-length": "5"}

    async def broken(receiver: Receiver) -> Response:
        await receiver.begin(200, headers)
        await receiver.write(b"id\n")
        await receiver.flush()
        raise KeyError("the connection")

    async def rest(receiver: Receiver) -> Response:
        assert receiver.headers["Range"] == "bytes=3-"
        return Response(206, {**headers, "content-range": "bytes 3-4/5"}, b"1\n")

    assert await downloaded(tmp_path, broken, rest) == b"id\n1\n"


# What it may do wrong


@pytest.mark.parametrize(
    "error",
    [KeyError("test-key"), OSError("test-key"), RuntimeError("test-key"), asyncio.CancelledError("test-key")],
)
async def test_any_error_of_its_own_is_a_lost_answer(error: BaseException) -> None:
    own = Own(error, error)
    async with client_of(own, retry=Retry(attempts=2, backoff=0)) as client:
        with pytest.raises(ApiConnectionError, match="the transport failed") as caught:
            await client.run_status("run_1")

    assert (caught.value.reached, caught.value.attempts, len(own.sent)) == (True, 2, 2)
    assert caught.value.__cause__ is error
    assert "test-key" not in str(caught.value)


async def test_a_lost_submission_is_sent_again_with_the_same_key() -> None:
    own = Own(KeyError(), found())
    async with client_of(own, retry=Retry(backoff=0)) as client:
        assert (await client.run("f:v1", "a.csv")).id == "run_1"

    first, second = (headers["idempotency-key"] for _, _, headers, _ in own.sent)
    assert first == second


async def test_a_lost_submission_that_could_start_a_second_run_is_not() -> None:
    own = Own(KeyError(), Response(200, {"Lume-Capabilities": "cancel"}, b"{}"))  # the second is of /healthz
    async with client_of(own, retry=Retry(backoff=0)) as client:
        with pytest.raises(SubmissionUnknownError):
            await client.run("f:v1", "a.csv", force_rerun=True)

    assert [method for method, *_ in own.sent] == ["POST", "GET"]


@pytest.mark.parametrize("seed", range(5))
def test_no_error_of_its_own_starts_a_second_run(seed: int) -> None:
    """In a simulated network that loses things as well."""
    rng = random.Random(seed)

    class Failing(Passing):
        async def request(self, *place: Any, **more: Any) -> Response:
            if rng.random() < 0.2:
                raise KeyError("before it was sent")
            response = await super().request(*place, **more)
            if rng.random() < 0.2:
                raise KeyError("after the answer")
            return response

    async def main() -> int:
        done = 0
        async with Client("key", base_url=URL, transport=Failing) as client:
            for n in range(10):
                try:
                    await client.run("f:v1", f"{n}.csv", force_rerun=n % 2 == 0)
                    done += 1
                except SubmissionUnknownError:
                    pass
        return done

    server = SimulatedServer()
    done = simulate(main, server, seed=seed, faults=0.2)

    assert not server.doubled()
    assert done >= 5


@pytest.mark.parametrize(
    "error",
    [ServerError("mine", status_code=500), MissingLibraryError("mine"), ConfigurationError("mine")],
)
async def test_an_error_of_this_library_is_what_it_says(error: Exception) -> None:
    async with client_of(Own(error), retry=Retry(attempts=1)) as client:
        with pytest.raises(type(error), match="mine") as caught:
            await client.run_status("run_1")

    assert caught.value is error


async def test_a_key_in_its_error_is_withheld() -> None:
    def quoting(name: str) -> Any:
        async def fail(_: Any) -> Response:
            raise ApiConnectionError(f"odd header {own.sent[-1][2][name]}", reached=False)

        return fail

    own = Own(quoting("lume-api-key"), quoting("authorization"))
    client = client_of(own, api_key="a-long-key", token="a-long-token", retry=Retry(attempts=1))
    for _ in range(2):
        with pytest.raises(ApiConnectionError, match=r"^\[withheld") as caught:
            await client.run_status("run_1")
        assert "a-long" not in repr(caught.value)
        assert not caught.value.reached


async def test_not_reached_is_sent_again_even_if_it_could_start_a_second_run() -> None:
    own = Own(ApiConnectionError("refused", reached=False), found())
    async with client_of(own, retry=Retry(backoff=0)) as client:
        await client.run("f:v1", "a.csv", force_rerun=True)

    assert len(own.sent) == 2


async def test_an_assertion_of_a_test_is_not_sent_again() -> None:
    own = Own(AssertionError("an unexpected request"))
    async with client_of(own) as client:
        with pytest.raises(AssertionError, match="an unexpected request"):
            await client.run_status("run_1")


@pytest.mark.parametrize(
    "response",
    [
        None,
        (200, {}, b""),
        Response(200, {}, "text"),  # type: ignore[arg-type]
        Response(0, {}, b""),
        Response(-200, {}, b""),
        Response(1000, {}, b""),
        Response(429, {"Retry-After": 5}),  # type: ignore[dict-item]
        Response(200, {"Lume-Capabilities": b"wait"}),  # type: ignore[dict-item]
        Response(200, {b"Date": "now"}),  # type: ignore[dict-item]
        Response("no number", {}, b""),  # type: ignore[arg-type]
        Response(200, 5, b""),  # type: ignore[arg-type]
    ],
)
async def test_what_is_no_response_is_a_lost_answer(response: Any) -> None:
    async with client_of(Own(response), retry=Retry(attempts=1)) as client:
        with pytest.raises(ApiConnectionError, match=r"the transport failed: (Type|Value)Error") as caught:
            await client.run_status("run_1")

    assert isinstance(caught.value.__cause__, (TypeError, ValueError))


async def test_the_body_of_an_error_is_cut() -> None:
    async with client_of(Own(Response(400, {}, b"x" * 100_000))) as client:
        with client.answers() as seen, pytest.raises(ApiError, match="400"):
            await client.run_status("run_1")

    assert len(seen[0].body) == 64 * 1024


def test_one_that_never_answers_is_given_up() -> None:
    async def never(_: Any) -> Response:
        await asyncio.sleep(1e6)
        raise AssertionError

    async def main() -> float:
        begun = asyncio.get_running_loop().time()
        async with client_of(Own(never), request_timeout=60, retry=Retry(attempts=1)) as client:
            with pytest.raises(ApiTimeoutError, match="the transport failed: TimeoutError"):
                await client.run_status("run_1")
        return asyncio.get_running_loop().time() - begun

    assert 60 <= simulate(main, faults=0) < 62


def test_each_chunk_has_the_time_limit_anew(tmp_path: Path) -> None:
    async def slow(receiver: Receiver) -> Response:
        await receiver.begin(200, {"content-length": "10"})
        for _ in range(10):
            await asyncio.sleep(50)
            await receiver.write(b"x")
        await receiver.flush()
        return Response(200)

    async def main() -> bytes:
        async with client_of(Own(slow), request_timeout=60) as client:
            return (await client.attach("run_1").download("mapped", tmp_path / "x")).read_bytes()

    assert simulate(main, faults=0) == b"x" * 10


async def test_a_cancelled_call_cancels_it() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def never(_: Any) -> Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with client_of(Own(never)) as client:
        task = asyncio.create_task(client.run_status("run_1"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert cancelled.is_set()


async def test_a_view_closes_nothing() -> None:
    own = Own()
    client = client_of(own)
    await client.with_options(request_timeout=5).aclose()
    assert own.closed == 0
    await client.aclose()

    assert own.closed == 1
    with pytest.raises(ClientClosedError):
        await client.run_status("run_1")


# What is refused


@pytest.mark.parametrize("options", [{"proxy": "http://proxy:1"}, {"ssl": __file__}])
async def test_settings_of_the_default_are_refused_with_another(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="proxy and ssl belong to the default transport"):
        client_of(Own(), **options)


async def test_settings_of_the_default_are_taken_where_it_is_wrapped() -> None:
    made: list[Transport] = []

    def wrapped(default: Transport) -> Transport:
        made.append(default)
        return default

    async with (
        Loopback([reply(200, run_json("run_1", "SUCCEEDED"))]) as proxy,
        client_of(wrapped, proxy=proxy.url) as client,
    ):
        await client.run_status("run_1")

    assert len(made) == 1
    assert proxy.requests[0].target == f"{URL}/v1/runs/run_1"


async def test_the_proxy_of_the_environment_is_not_read_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "nonsense://")
    with pytest.raises(ConfigurationError, match="proxy"):
        client_of(Passing)

    async with client_of(Own(found())) as client:
        await client.run_status("run_1")


@pytest.mark.parametrize(
    "transport", [5, "aiohttp", object(), int, lambda default: None, lambda default: Own]
)
def test_what_is_no_transport(transport: Any) -> None:
    with pytest.raises(ConfigurationError, match="transport must be an object with the methods of Transport"):
        client_of(transport)


def test_an_error_of_the_function_is_the_callers() -> None:
    def broken(default: Transport) -> Transport:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        client_of(broken)


async def test_a_fake_client_is_one_of_these() -> None:
    client, _ = fake_client([KeyError("mine")] * 3)

    with no_backoff(), pytest.raises(ApiConnectionError, match="the transport failed: KeyError") as raised:
        await client.run_status("run_1")

    assert isinstance(raised.value.__cause__, KeyError)


async def test_the_example_for_an_application_lets_it_wait_for_the_clients_end() -> None:
    """As frameworks do while they stream: an answer that never waits would keep the loop busy for ever."""
    page = (Path(__file__).parents[3] / "docs/guides/ways-out.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(next(block for block in blocks if "class AsgiTransport" in block), names)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            for _ in range(10):
                received.append((await receive())["type"])

        received: list[str] = []
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        assert received == ["http.request"]
        listening.cancel()
        await send({"type": "http.response.start", "status": 204})
        for part in (b"a", b"b"):
            await send({"type": "http.response.body", "body": part, "more_body": part == b"a"})

    async with client_of(names["AsgiTransport"](app)) as client:
        assert (await client.request("GET", "/x")).body == b"ab"
