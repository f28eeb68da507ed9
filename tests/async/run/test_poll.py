"""Long polls: only where the server can, never a hot loop, never more than half the connections."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lume_async import ApiTimeoutError, Backoff, Client, LumeRun, Retry, RunTimeoutError
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, FakeTransport, fake_client, run_json

EVERY_TEN = Backoff.constant(10)
START = 1_000.0


class HoldingServer:
    """One run that goes through `changes` (moment: status), and a server that can hold a look.

    Args:
        changes: at which second the run gets which status.
        capabilities: the header's text, or a function from the number of the request to it; None sends none.
        etags: whether answers carry an ETag.
        lies: says that it can hold, and answers at once.
        refreshes: answers 200 with the whole run even where nothing has changed.
    """

    def __init__(
        self,
        changes: dict[float, str],
        *,
        capabilities: Any = "wait",
        etags: bool = True,
        lies: bool = False,
        refreshes: bool = False,
    ) -> None:
        self.changes = {0.0: "CREATED", **changes}
        self.capabilities = capabilities
        self.etags = etags
        self.lies = lies
        self.refreshes = refreshes
        self.clock = FakeClock()
        self.asked: list[tuple[float, str | None, float]] = []
        self.count = 0

    def __call__(self, request: FakeRequest) -> FakeAnswer:
        now = self.clock.now() - START
        prefer = request.headers.get("Prefer")
        self.asked.append((round(now, 3), prefer, request.timeout))
        self.count += 1
        etag = self.at(now)[0]
        took = 0.0
        if prefer and not self.lies and request.headers.get("If-None-Match") == etag:
            longest = float(prefer.removeprefix("wait="))
            coming = [moment for moment in self.changes if now < moment <= now + longest]
            took = min(coming) - now if coming else longest
        etag, status = self.at(now + took)
        headers = {"ETag": etag} if self.etags else {}
        offered = self.capabilities(self.count) if callable(self.capabilities) else self.capabilities
        if offered is not None:
            headers["Lume-Capabilities"] = offered
        if request.headers.get("If-None-Match") == etag and not self.refreshes:
            return FakeAnswer(304, b"", headers, took=took)
        return FakeAnswer(200, run_json("run_1", status), headers, took=took)

    def at(self, now: float) -> tuple[str, str]:
        moment = max(moment for moment in self.changes if moment <= now + 1e-9)
        return f'"{moment}"', self.changes[moment]

    async def seen(self, **options: Any) -> LumeRun:
        """A handle that has looked once, so that it knows the ETag and what the server can."""
        client, _ = fake_client(self, clock=self.clock, retry=Retry(attempts=1), **options)
        run = await client.run_status("run_1")
        self.asked.clear()
        return run


async def test_a_look_is_held_until_the_run_changes() -> None:
    server = HoldingServer({12: "TRANSFORMING", 45: "SUCCEEDED"})
    run = await server.seen()

    await run.wait(timeout=100)

    assert [(when, prefer) for when, prefer, _ in server.asked] == [
        (0, "wait=30"),
        (12, "wait=30"),
        (42, "wait=30"),
    ]
    assert server.clock.now() - START == 45
    assert run.succeeded


async def test_a_held_look_may_take_the_request_timeout_longer() -> None:
    server = HoldingServer({45: "SUCCEEDED"})
    run = await server.seen(request_timeout=7)

    await run.wait(timeout=None)

    assert server.asked == [(0, "wait=30", 37), (30, "wait=30", 37)]


@pytest.mark.parametrize(
    ("timeout", "asked"),
    [
        (0, [(0, None, 1)]),
        (0.5, [(0, None, 0.5), (0.5, None, 1)]),
        (1, [(0, None, 1), (0.5, None, 0.5), (1, None, 1)]),
        (9.5, [(0, "wait=9", 10), (9, None, 0.5), (9.5, None, 1)]),
        (40, [(0, "wait=30", 40), (30, "wait=10", 11), (40, None, 1)]),
    ],
)
async def test_no_look_is_held_past_the_deadline(timeout: float, asked: list[Any]) -> None:
    server = HoldingServer({})
    run = await server.seen()

    with pytest.raises(RunTimeoutError):
        await run.wait(timeout=timeout, poll_interval=0.5)

    assert server.asked == asked


@pytest.mark.parametrize(
    "options",
    [
        {"capabilities": None},
        {"capabilities": ""},
        {"capabilities": "idempotency, changes"},
        {"etags": False},
    ],
    ids=["silent", "none", "others", "no ETag"],
)
async def test_without_the_capability_or_an_etag_it_polls(options: dict[str, Any]) -> None:
    server = HoldingServer({}, **options)
    run = await server.seen()

    with pytest.raises(RunTimeoutError):
        await run.wait(timeout=25, poll_interval=EVERY_TEN)

    assert [(when, prefer) for when, prefer, _ in server.asked] == [
        (0, None),
        (10, None),
        (20, None),
        (25, None),
    ]


async def test_a_quick_answer_with_a_change_needs_no_back_off() -> None:
    server = HoldingServer({0.1: "TRANSFORMING", 30: "SUCCEEDED"})
    run = await server.seen()

    await run.wait(timeout=60, poll_interval=EVERY_TEN)

    assert [when for when, _, _ in server.asked] == [0, 0.1]


async def test_a_pause_that_the_server_asks_for_is_kept_after_a_held_look_as_well() -> None:
    server = HoldingServer({40: "SUCCEEDED"})

    def answers(request: FakeRequest) -> FakeAnswer:
        answer = server(request)
        return FakeAnswer(answer.status, answer.body, {**answer.headers, "Retry-After": "4"}, answer.took)

    client, _ = fake_client(answers, clock=server.clock)
    run = await client.run_status("run_1")
    server.asked.clear()

    await run.wait(timeout=None)

    assert [when for when, _, _ in server.asked] == [0, 34]


async def test_a_failed_poll_is_repeated_soon() -> None:
    server = HoldingServer({100: "SUCCEEDED"})
    run = await server.seen()
    failures = [ApiTimeoutError("a proxy has cut it")] * 3

    def answers(request: FakeRequest) -> Any:
        answer = server(request)
        return failures.pop() if failures else answer

    transport: Any = run._sender._transport._inner  # type: ignore[union-attr]
    transport._answer = answers
    await run.wait(timeout=None, poll_interval=EVERY_TEN)

    assert [when for when, _, _ in server.asked] == pytest.approx(
        [0, 0.25, 0.75, 1.75, 31.75, 61.75, 91.75], abs=0.5
    )


# Sharing


class Counting:
    """A transport that counts how many looks the server holds at once."""

    def __init__(self, inner: FakeTransport) -> None:
        self.inner = inner
        self.held = self.most = 0

    async def request(self, *arguments: Any, **options: Any) -> Any:
        held = "Prefer" in options["headers"]
        self.held += held
        self.most = max(self.most, self.held)
        try:
            return await self.inner.request(*arguments, **options)
        finally:
            self.held -= held

    async def aclose(self) -> None:
        await self.inner.aclose()


def holding_client(server: HoldingServer, **options: Any) -> tuple[Client, Counting]:
    client, transport = fake_client(server, clock=server.clock, **options)
    counting = Counting(transport)
    client._sender._transport = counting
    return client, counting


async def asynchronous_key() -> str:
    await asyncio.sleep(0)
    return "test-key"


@pytest.mark.parametrize("api_key", ["test-key", asynchronous_key], ids=["fixed key", "slow key"])
@pytest.mark.parametrize(("connections", "most"), [(1, 0), (2, 1), (3, 1), (8, 4)])
async def test_at_most_half_the_connections_are_held(
    connections: int, most: int, api_key: str | Callable[[], Any]
) -> None:
    server = HoldingServer({90: "SUCCEEDED"})
    client, counting = holding_client(server, max_connections=connections, api_key=api_key)
    runs = [await client.run_status("run_1") for _ in range(9)]

    await asyncio.gather(*(run.wait(timeout=None) for run in runs))

    assert counting.most == most
    assert all(run.succeeded for run in runs)
