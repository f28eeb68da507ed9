"""What users' tests are given: a clock that takes no time, a transport that answers from a script."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from lume_async import ApiConnectionError, Client, RunRequest
from lume_async._batch.journal import Journal
from lume_async.testing import (
    FakeAnswer,
    FakeClock,
    FakeRequest,
    FakeTransport,
    SimulatedServer,
    fake_client,
    run_json,
    simulate,
)


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock, woken = FakeClock(), []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.now() - 1_000))

    await asyncio.gather(sleeper("a", 3, 3), sleeper("b", 5), sleeper("c", 1, 1, 10))

    assert woken == [("c", 1), ("c", 2), ("a", 3), ("b", 5), ("a", 6), ("c", 12)]


async def test_a_sleeper_that_is_cancelled_holds_nobody_up() -> None:
    clock = FakeClock()
    short = asyncio.ensure_future(clock.sleep(1))
    await asyncio.sleep(0)
    short.cancel()
    await clock.sleep(60)

    assert clock.now() == 1_060


async def test_time_may_pass_without_a_sleep() -> None:
    clock = FakeClock(offset=5_000)
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await asyncio.sleep(0)
    clock.advance(30)
    await sleeper

    assert clock.now() == 1_030
    assert clock.wall() == 6_030
    assert clock.sleeps == [10]


async def test_a_sleep_in_the_past_ends_at_once() -> None:
    clock = FakeClock()
    await clock.sleep(-5)

    assert clock.now() == 1_000


async def test_answers_in_turn() -> None:
    client, transport = fake_client(
        [ApiConnectionError("reset"), FakeAnswer(200, run_json("run_1", "CREATED", progress=0.5))]
    )

    run = await client.run_status("run_1")

    assert (run.status, run.progress) == ("CREATED", 0.5)
    assert [request.path for request in transport.requests] == ["/v1/runs/run_1"] * 2


async def test_a_script_that_is_too_short_says_so() -> None:
    client, _ = fake_client([])

    with pytest.raises(AssertionError, match="no answer is left for GET /v1/runs/run_1"):
        await client.run_status("run_1")


async def test_a_body_may_be_bytes_or_json() -> None:
    transport = FakeTransport([FakeAnswer(200, b"raw"), FakeAnswer(200, {"a": 1}, {"ETag": "e"})])

    raw = await transport.request("GET", "/", headers={}, body=None, timeout=1)
    json = await transport.request("GET", "/", headers={}, body=None, timeout=1)

    assert (raw.body, json.body) == (b"raw", b'{"a":1}')
    assert json.headers["etag"] == "e"


async def test_an_answer_may_take_time() -> None:
    clock = FakeClock()
    transport = FakeTransport([FakeAnswer(200, took=7)], clock=clock)

    await transport.request("GET", "/", headers={}, body=None, timeout=1)

    assert clock.now() == 1_007


def test_a_request_without_a_body() -> None:
    assert FakeRequest("GET", "/").json() is None


def test_options_are_those_of_a_client() -> None:
    client, _ = fake_client([], base_url="http://other.test", max_connections=3)

    assert isinstance(client, Client)
    assert client.base_url == "http://other.test"


async def test_the_clock_waits_while_a_journal_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is no task: a deadline would pass while each of its calls takes a little longer than usual."""
    rows, polls = Journal.rows, Counter[str]()

    def slowly(*args: Any) -> Any:
        time.sleep(0.05)
        return rows(*args)

    monkeypatch.setattr(Journal, "rows", slowly)

    def answer(request: FakeRequest) -> FakeAnswer:
        if request.method == "POST":
            return FakeAnswer(201, run_json(f"run_{request.json()['source_path']}", "CREATED"))
        run_id = request.path.rpartition("/")[2]
        polls[run_id] += 1
        return FakeAnswer(200, run_json(run_id, "SUCCEEDED" if polls[run_id] > 2 else "TRANSFORMING"))

    clock = FakeClock()
    client, _ = fake_client(answer, clock=clock)
    requests = [RunRequest("f:v1", str(n)) for n in range(20)]
    outcomes = [one async for one in client.run_many(requests, journal=tmp_path / "journal", timeout=3600)]
    assert [one.error for one in outcomes] == [None] * 20
    assert clock.now() < 1_100


async def ask(server: SimulatedServer, path: str) -> tuple[int, Any]:
    answer = server.answer(FakeRequest("GET", f"/v1/{path}"))
    assert isinstance(answer, FakeAnswer)
    return answer.status, orjson.loads(bytes(answer.body))


def test_the_feed_of_a_simulated_server_keeps_the_limit() -> None:
    server = SimulatedServer(lasts=0.0)

    async def program() -> list[tuple[str, str]]:
        _, page = await ask(server, "changes")
        runs = [server.add("flow:v1", f"{n}.csv").id for n in range(2)]
        seen = list[tuple[str, str]]()
        while page["items"] or not seen:
            status, page = await ask(server, f"changes?after={page['next_cursor']}&limit=3")
            assert (status, len(page["items"]) <= 3) == (200, True)
            seen += [(item["id"], item["status"]) for item in page["items"]]
        assert [run for run, status in seen if status == "SUCCEEDED"] == runs
        return seen

    seen = simulate(program, server)
    assert len(seen) == len(set(seen)) == 10


@pytest.mark.parametrize(
    "asked",
    [
        *(f"changes?after={cursor}" for cursor in ("1.0", "0.x", "no-such-cursor", "0", "\u00b2.0")),
        "runs?cursor=no-such-cursor",
    ],
)
def test_a_simulated_server_refuses_a_cursor_that_it_has_not_given(asked: str) -> None:
    server = SimulatedServer()

    async def program() -> tuple[int, str]:
        status, problem = await ask(server, quote(asked, "?=/"))
        return status, problem["type"]

    assert simulate(program, server) == (400, "urn:lume:problem:invalid-cursor")


def test_fake_client_takes_no_transport() -> None:
    with pytest.raises(TypeError, match="pass none"):
        fake_client([], transport=FakeTransport([]))


async def test_a_client_over_a_fake_transport_sleeps_by_its_clock() -> None:
    """As `fake_client`, by public means only."""
    busy, done = FakeAnswer(503, {}, {"Retry-After": "50"}), FakeAnswer(200, run_json("run_1", "FAILED"))
    transport = FakeTransport([busy, done], clock=FakeClock())
    client = Client("key", base_url="http://lume.test", transport=transport)
    assert (await client.run_status("run_1")).status == "FAILED"
    assert transport.clock is not None
    assert transport.clock.sleeps == [50]
