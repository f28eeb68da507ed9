"""One call and its attempts: keys, turns, deadlines, retries, what each answer teaches."""

import asyncio
import gc
import logging
from email.utils import formatdate
from typing import Any

import pytest

from lume_async import (
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    Backoff,
    Client,
    Event,
    RequestFinished,
    RequestStarted,
    ResponseDecodeError,
    Retry,
    RetryScheduled,
    RunNotFoundError,
    ServerError,
)
from lume_async._http.throttle import ROW
from lume_async._wire import endpoints
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, FakeTransport, fake_client, run_json

EVEN = Retry(attempts=3, backoff=Backoff(1, maximum=8, jitter=0))
RUN = FakeAnswer(200, run_json("run_1", "CREATED"))
START = 1_000.0


def client_of(answers: Any, **options: Any) -> tuple[Client, FakeTransport, FakeClock]:
    clock = FakeClock()
    client, transport = fake_client(answers, clock=clock, **{"retry": EVEN, **options})
    return client, transport, clock


REFUSALS = [FakeAnswer(429, headers={"Retry-After": "10"})] * ROW


async def paused(client: Client, clock: FakeClock) -> float:
    """When a client whose first requests are all refused begins to hold every request back."""
    for _ in range(ROW):
        with pytest.raises(ApiError):
            await client._sender.send(endpoints.status("run_1"), once=True)
    return clock.now()


# Retries


@pytest.mark.parametrize(
    ("retry_after", "pause"), [("0", 1), ("0.5", 1), ("7", 7), ("60", 60), ("-5", 1), ("nonsense", 1)]
)
@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_retry_after_is_a_floor(status: int, retry_after: str, pause: float) -> None:
    client, _, clock = client_of([FakeAnswer(status, headers={"Retry-After": retry_after}), RUN])

    await client.run_status("run_1")

    assert clock.now() - START == pytest.approx(pause, abs=0.2)


async def test_a_retry_date_without_date_is_seen_from_our_clock() -> None:
    clock = FakeClock()
    until = formatdate(clock.wall() + 9, usegmt=True)
    client, _ = fake_client([FakeAnswer(503, headers={"Retry-After": until}), RUN], clock=clock, retry=EVEN)

    await client.run_status("run_1")

    assert clock.now() - START == pytest.approx(9, abs=1)


async def test_the_error_tells_what_the_server_said() -> None:
    answer = FakeAnswer(
        503, {"title": "T", "detail": "in repair"}, {"X-Request-Id": "req_1", "Retry-After": "2"}
    )
    client, _, _ = client_of([answer], retry=Retry(attempts=1))

    with pytest.raises(ServerError) as caught:
        await client.run_status("run_1")

    error = caught.value
    assert (error.status_code, error.request_id, error.retry_after) == (503, "req_1", 2)
    assert error.body == '{"title":"T","detail":"in repair"}'
    assert str(error) == "GET /v1/runs/run_1: 503 Service Unavailable: in repair [request id req_1]"


async def test_an_answer_that_can_not_be_read_keeps_its_facts() -> None:
    client, _, _ = client_of([FakeAnswer(200, b"<html>", {"X-Request-Id": "req_1"})], retry=Retry(attempts=1))

    with pytest.raises(ResponseDecodeError) as caught:
        await client.run_status("run_1")

    error = caught.value
    assert (error.status_code, error.request_id, error.body) == (200, "req_1", "<html>")


# Keys


class Rotating:
    """A key that changes when it is told to; counts how often it was asked for."""

    def __init__(self) -> None:
        self.valid = self.known = 1
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        return f"key-{self.valid}"

    def answer(self, request: FakeRequest) -> FakeAnswer:
        return RUN if request.headers["lume-api-key"] == f"key-{self.known}" else FakeAnswer(401)


@pytest.mark.parametrize(("status", "key"), [(401, "fixed-key"), (403, "fixed-key"), (403, lambda: "k")])
async def test_otherwise_a_refused_key_is_refused(status: int, key: Any) -> None:
    client, transport, _ = client_of([FakeAnswer(status)], api_key=key)

    with pytest.raises(AuthenticationError) as caught:
        await client.run_status("run_1")

    assert caught.value.status_code == status
    assert len(transport.requests) == 1


async def test_a_crowd_with_a_stale_key_asks_for_few_new_ones() -> None:
    keys = Rotating()
    client, transport, _ = client_of(keys.answer, api_key=keys)
    await client.run_status("run_1")
    keys.known = 2  # the server wants the new key before the function gives it
    keys.asked = 0

    async def look() -> None:
        await client.run_status("run_1")

    looks = [asyncio.ensure_future(look()) for _ in range(50)]
    await asyncio.sleep(0)
    keys.valid = 2
    await asyncio.gather(*looks)

    assert keys.asked <= 4
    assert len(transport.requests) <= 101


@pytest.mark.parametrize("edge", [200, 500, 2048, 64 * 1024])
@pytest.mark.parametrize("kind", ["text", "detail", "200"])
async def test_a_key_that_lies_across_a_cut_is_not_repeated_in_part(edge: int, kind: str) -> None:
    key = "canary-0123456789-abcdef"
    for begin in range(edge - len(key) - 4, edge + 2):
        text = "y" * begin + key
        answer = {
            "text": FakeAnswer(403, text.encode()[: 64 * 1024]),
            "detail": FakeAnswer(403, {"detail": text + "z" * 50}),
            "200": FakeAnswer(200, text.encode() + b"z" * 50),
        }[kind]
        client, _, _ = client_of([answer], api_key=key, retry=Retry(attempts=1))
        with pytest.raises(ApiError) as caught:
            await client.run_status("run_1")
        assert "canary" not in f"{caught.value} {caught.value.body}"


@pytest.mark.parametrize(("letter", "written"), [("/", r"\/"), ("+", r"\u002B"), ('"', r"\""), ("=", "=")])
@pytest.mark.parametrize("status", [403, 200])
async def test_a_key_that_json_writes_in_another_way_is_the_key_all_the_same(
    letter: str, written: str, status: int
) -> None:
    key = f"{letter}ab{letter}canary{letter}"
    for begin in range(470, 502):
        text = "y" * begin + key.replace(letter, written)
        answer = FakeAnswer(status, f'{{"detail": "{text}"}}'.encode())
        client, _, _ = client_of([answer], api_key=key, retry=Retry(attempts=1))
        with pytest.raises(ApiError) as caught:
            await client.run_status("run_1")
        assert "can" not in f"{caught.value} {caught.value.body}"


# 404 soon after a submission


def submit_then(*answers: Any) -> list[Any]:
    return [FakeAnswer(201, run_json("run_1", "CREATED")), *answers]


async def test_after_ten_seconds_a_404_means_what_it_says() -> None:
    client, transport, clock = client_of(submit_then(FakeAnswer(404)))
    run = await client.run("f", "s")
    clock.advance(10)

    with pytest.raises(RunNotFoundError):
        await run.refresh()

    assert len(transport.requests) == 2


async def test_the_memory_of_our_runs_is_bounded() -> None:
    client, _, _ = client_of([])
    for n in range(10_001):
        client._sender.recent_runs.add(f"run_{n}")

    now = client._sender.clock.now()
    assert not client._sender.recent_runs.is_fresh("run_0", now)
    assert client._sender.recent_runs.is_fresh("run_1", now)
    assert not client._sender.recent_runs.is_fresh(None, now)


# Time limits


@pytest.mark.parametrize(
    ("request_timeout", "wait_timeout", "limits"),
    [
        (60, 10, [10, 1]),  # clipped to the time left, and to a second at the deadline
        (5, 10, [5, 1]),
        (0.5, 10, [0.5, 0.5]),
        (60, 0, [1]),
        (0.25, 0, [0.25]),
        (60, None, [60]),
    ],
)
async def test_a_requests_time_is_clipped_to_the_time_left(
    request_timeout: float, wait_timeout: float | None, limits: list[float]
) -> None:
    client, transport, _ = client_of(
        lambda request: RUN if len(transport.requests) < len(limits) else FakeAnswer(401),
        request_timeout=request_timeout,
    )

    with pytest.raises(AuthenticationError):
        await client.attach("run_1").wait(timeout=wait_timeout, poll_interval=60)

    assert [request.timeout for request in transport.requests] == pytest.approx(limits)


async def test_no_retry_begins_after_the_deadline() -> None:
    client, transport, clock = client_of([FakeAnswer(500)] * 9)

    with pytest.raises(TimeoutError):
        await client.attach("run_1").wait(timeout=2, poll_interval=0.2)

    assert [request.timeout for request in transport.requests][-1] == 1
    assert clock.now() - START <= 3


# Turns


class Busy:
    """A server that answers when it is told to, and counts how many requests it has at once."""

    def __init__(self, inner: FakeTransport) -> None:
        self.inner = inner
        self.open = asyncio.Event()
        self.now = self.most = 0

    async def request(self, *arguments: Any, **options: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.open.wait()
            return await self.inner.request(*arguments, **options)
        finally:
            self.now -= 1

    async def aclose(self) -> None:
        self.open.set()


def busy_client(**options: Any) -> tuple[Client, Busy]:
    client, transport, _ = client_of(lambda request: RUN, **options)
    busy = Busy(transport)
    client._sender._transport = busy
    return client, busy


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_requests_are_under_way_than_allowed() -> None:
    client, busy = busy_client(max_connections=3)
    looks = [asyncio.ensure_future(client.run_status("run_1")) for _ in range(20)]
    await settled()
    waiting = busy.now
    busy.open.set()
    await asyncio.gather(*looks)

    assert waiting == busy.most == 3


async def test_waiting_for_a_turn_counts_against_the_callers_deadline_only() -> None:
    client, busy = busy_client(max_connections=1)
    first = asyncio.ensure_future(client.run_status("run_1"))
    await settled()

    with pytest.raises(ApiTimeoutError, match="timed out waiting for a request slot") as caught:
        await client._sender.send(endpoints.status("run_2"), timeout=0)
    assert not caught.value.reached

    busy.open.set()
    await first


async def test_a_turn_that_comes_with_the_deadline_is_none() -> None:
    client, transport, clock = client_of([*REFUSALS, RUN])
    begun = await paused(client, clock)

    with pytest.raises(
        ApiTimeoutError, match="timed out waiting for a request slot: after refusals"
    ) as caught:
        await client._sender.send(endpoints.status("run_1"), timeout=10)

    assert not caught.value.reached
    assert clock.now() - begun == 10
    assert len(transport.requests) == ROW
    await client.run_status("run_1")  # the turn was given back
    assert len(transport.requests) == ROW + 1


async def test_many_refusals_in_a_row_make_everybody_wait() -> None:
    client, _, clock = client_of([*REFUSALS, RUN])
    begun = await paused(client, clock)

    await client.run_status("run_1")

    assert clock.now() - begun == pytest.approx(10)


async def test_however_long_the_server_asks_for_all_pause_no_longer_than_the_retry_allows() -> None:
    refusals = [FakeAnswer(503, headers={"Retry-After": "99999999999"})] * ROW
    client, _, clock = client_of([*refusals, RUN], retry=Retry(max_retry_after=7))
    begun = await paused(client, clock)

    await client.run_status("run_1")

    assert clock.now() - begun == pytest.approx(7)


async def test_who_has_the_time_waits_as_long_as_the_server_asks_for() -> None:
    answers = [
        FakeAnswer(429, headers={"Retry-After": "3600"}),
        FakeAnswer(200, run_json("run_1", "SUCCEEDED")),
    ]
    client, transport, clock = client_of(answers, retry=Retry(attempts=1, max_retry_after=60))

    await client.attach("run_1").wait(timeout=2 * 3600)

    assert clock.now() - START >= 3600
    assert len(transport.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 504, 408, 404])
async def test_other_failures_make_nobody_else_wait(status: int) -> None:
    client, _, clock = client_of([FakeAnswer(status)] * 2 * ROW + [RUN], retry=Retry(attempts=1))
    for _ in range(2 * ROW):
        with pytest.raises(ApiError):
            await client.run_status("run_1")

    await client.run_status("run_1")

    assert clock.sleeps == []


# Capabilities


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ([None], None),
        (["idempotency, wait"], {"idempotency", "wait"}),
        (["Wait,CANCEL ,, "], {"wait", "cancel"}),
        ([""], set()),
        (["wait", None], {"wait"}),
        (["wait", ""], set()),
        (["wait", "cancel", "wait"], {"wait"}),
        ([None, "wait"], {"wait"}),
    ],
)
async def test_the_newest_answer_that_says_so_counts(
    headers: list[str | None], known: set[str] | None
) -> None:
    answers = [
        FakeAnswer(200, run_json("r", "CREATED"), {} if text is None else {"Lume-Capabilities": text})
        for text in headers
    ]
    client, _, _ = client_of(answers)
    for _ in headers:
        await client.run_status("r")

    assert client._sender.known.capabilities == known


async def test_an_error_tells_capabilities_as_well() -> None:
    client, _, _ = client_of([FakeAnswer(404, headers={"Lume-Capabilities": "wait"})])
    with pytest.raises(RunNotFoundError):
        await client.run_status("r")

    assert client._sender.can("wait")
    assert not client._sender.can("cancel")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("86400", 86400.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 400, None),
    ],
)
async def test_how_long_the_server_knows_a_key_is_said_beside_its_capabilities(
    said: str | None, kept: float | None
) -> None:
    expires = {} if said is None else {"Lume-Idempotency-Expires": said}
    answers = [
        FakeAnswer(200, run_json("r", "CREATED"), {"Lume-Capabilities": "idempotency", **expires}),
        FakeAnswer(200, run_json("r", "CREATED")),  # a proxy's own answer has neither: changes nothing
    ]
    client, _, _ = client_of(answers)
    for _ in answers:
        await client.run_status("r")

    assert client._sender.known.promises.kept == kept


async def test_a_retention_that_changes_counts_at_once() -> None:
    """A server that was started again with another setting announces the same capabilities."""
    offers = {"Lume-Capabilities": "idempotency"}
    run, times = run_json("run_1", "CREATED"), (3600.0, 60.0)
    client, _ = fake_client(
        [FakeAnswer(200, run, offers | {"Lume-Idempotency-Expires": f"{kept}"}) for kept in times]
    )
    for kept in times:
        await client.run_status("run_1")
        assert client._sender.known.promises.kept == kept


@pytest.mark.parametrize("dated", [True, False])
async def test_the_servers_time_is_known_from_its_first_date_on(dated: bool) -> None:
    headers = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT"} if dated else {}
    client, _, clock = client_of([FakeAnswer(200, run_json("r", "CREATED"), headers)])
    assert not client._sender.knows_time
    await client.run_status("r")

    assert client._sender.knows_time is dated
    expected = 1_445_412_480.0 if dated else clock.wall()
    assert client._sender.server_time(clock.now()) == expected


# Events


async def test_a_hook_that_ends_the_program_leaves_no_request_behind() -> None:
    def end(event: Event) -> None:
        raise SystemExit(3)

    client, transport, _ = client_of([], hooks=[end])
    with pytest.raises(SystemExit):
        await client.run_status("run_1")
    gc.collect()  # a request that was never awaited would say so
    assert transport.requests == []


async def test_hooks_see_each_attempt() -> None:
    events: list[Event] = []
    client, _, _ = client_of(
        [
            FakeAnswer(500, headers={"X-Request-Id": "req_1"}),
            ApiTimeoutError("slow"),
            FakeAnswer(200, RUN.body, took=2),
        ],
        hooks=[events.append],
    )

    await client.run_status("run_1")

    name = "GET /v1/runs/{id}"
    assert events == [
        RequestStarted(name, 1),
        RequestFinished(name, 1, 0.0, 500, "req_1"),
        RetryScheduled(name, 1, 1.0, events[2].error),  # type: ignore[union-attr]
        RequestStarted(name, 2),
        RequestFinished(name, 2, 0.0, error="ApiTimeoutError"),
        RetryScheduled(name, 2, 2.0, "slow [after 2 attempts]"),
        RequestStarted(name, 3),
        RequestFinished(name, 3, 2.0, 200),
    ]


async def test_the_log_groups_by_operation(caplog: pytest.LogCaptureFixture) -> None:
    client, _, _ = client_of([RUN])
    with caplog.at_level(logging.DEBUG, "lume.http"):
        await client.run_status("run_1")

    assert [record.getMessage() for record in caplog.records] == ["GET /v1/runs/{id}: 200 in 0.000 s"]
