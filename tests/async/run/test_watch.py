"""Following one run: a snapshot now and at every change, the last one terminal."""

import asyncio
from typing import Any

import pytest

from lume_async import (
    Client,
    LumeRun,
    Retry,
    RunTimeoutError,
    ServerError,
)
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, FakeTransport, fake_client, run_json

START = 1_000.0


def shows(status: str, **fields: Any) -> FakeAnswer:
    return FakeAnswer(200, run_json("run_1", status, **fields))


def client_of(*answers: Any) -> tuple[Client, FakeTransport, FakeClock]:
    clock, queue = FakeClock(), list(answers)

    def answer(request: FakeRequest) -> Any:
        return queue.pop(0) if len(queue) > 1 else queue[0]

    client, transport = fake_client(answer, clock=clock, retry=Retry(attempts=1))
    return client, transport, clock


async def test_a_snapshot_at_every_change() -> None:
    client, _, _ = client_of(
        shows("CREATED"), shows("CREATED"), shows("TRANSFORMING"), shows("TRANSFORMING"), shows("SUCCEEDED")
    )
    run = client.attach("run_1")

    snapshots = [snapshot async for snapshot in client.watch(run)]

    assert [snapshot.status for snapshot in snapshots] == ["CREATED", "TRANSFORMING", "SUCCEEDED"]
    assert all(snapshot == run and snapshot is not run for snapshot in snapshots)
    assert run.status == "SUCCEEDED"


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "CRASHED"])
async def test_a_failed_run_is_no_error_of_the_watch(status: str) -> None:
    client, _, _ = client_of(shows(status))

    assert [snapshot.status async for snapshot in client.watch("run_1")] == [status]


async def test_an_ended_run_is_shown_once() -> None:
    client, transport, _ = client_of(shows("SUCCEEDED"))
    run = await client.run_status("run_1")

    assert [snapshot.status async for snapshot in run.watch()] == ["SUCCEEDED"]
    assert len(transport.requests) == 2


async def test_what_is_known_is_shown_at_once_though_the_server_could_hold_the_look() -> None:
    headers = {"Lume-Capabilities": "wait", "ETag": '"1"'}

    def answer(request: FakeRequest) -> FakeAnswer:
        held = 30.0 if "Prefer" in request.headers else 0.0
        known = request.headers.get("If-None-Match") == '"1"'
        return FakeAnswer(304 if known else 200, run_json("run_1", "CREATED"), headers, took=held)

    clock = FakeClock()
    client, transport = fake_client(answer, clock=clock)
    watch = (await client.run_status("run_1")).watch()

    assert (await anext(watch)).status == "CREATED"
    assert clock.now() - START == 0

    next_step = asyncio.ensure_future(anext(watch))  # type: ignore[arg-type]
    while len(transport.requests) < 4:
        await asyncio.sleep(0)
    next_step.cancel()
    assert transport.requests[2].headers["Prefer"] == "wait=30"


async def test_an_unknown_status_that_ends_is_shown_twice() -> None:
    client, _, _ = client_of(shows("EXPIRING"), shows("EXPIRING", finished_at="2026-01-01T00:00:00Z"))

    snapshots = [snapshot async for snapshot in client.watch("run_1")]

    assert [(str(snapshot.status), snapshot.is_terminal) for snapshot in snapshots] == [
        ("EXPIRING", False),
        ("EXPIRING", True),
    ]


async def test_nothing_runs_between_two_steps() -> None:
    client, transport, _ = client_of(shows("CREATED"), shows("TRANSFORMING"))
    async for _ in client.watch("run_1"):
        break
    for _ in range(50):
        await asyncio.sleep(0)

    assert len(transport.requests) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_any_task_may_take_the_next_step() -> None:
    client, _, _ = client_of(shows("CREATED"), shows("TRANSFORMING"), shows("SUCCEEDED"))
    watch = client.watch("run_1")

    async def step() -> LumeRun:
        return await anext(watch)

    statuses = [(await asyncio.ensure_future(step())).status for _ in range(3)]

    assert statuses == ["CREATED", "TRANSFORMING", "SUCCEEDED"]


async def test_a_watch_that_is_too_short() -> None:
    client, _, clock = client_of(shows("CREATED"), shows("TRANSFORMING"))
    watch = client.watch("run_1", timeout=60, poll_interval=25)

    assert [(await anext(watch)).status for _ in range(2)] == ["CREATED", "TRANSFORMING"]
    with pytest.raises(RunTimeoutError, match=r"did not end within 60 s \(status: TRANSFORMING\)") as caught:
        await anext(watch)

    assert clock.now() - START == 60
    assert caught.value.run.status == "TRANSFORMING"
    assert caught.value.__cause__ is None


async def test_the_time_runs_from_the_first_step_on() -> None:
    client, _, clock = client_of(shows("CREATED"))
    watch = client.watch("run_1", timeout=60, poll_interval=25)
    clock.advance(1_000)
    await anext(watch)
    clock.advance(30)

    with pytest.raises(RunTimeoutError):
        await anext(watch)

    assert clock.now() - START == 1_060


async def test_a_pause_that_the_server_asked_for_is_kept_between_two_steps() -> None:
    asks = FakeAnswer(200, run_json("run_1", "CREATED"), {"Retry-After": "40"})
    client, transport, clock = client_of(asks, shows("TRANSFORMING"), shows("SUCCEEDED"))
    watch = client.watch("run_1", poll_interval=1)
    await anext(watch)
    clock.advance(10)  # the reader is busy

    assert (await anext(watch)).status == "TRANSFORMING"
    assert clock.now() - START == 40
    assert (await anext(watch)).status == "SUCCEEDED"
    assert clock.now() - START == 40  # nobody asked for more
    assert len(transport.requests) == 3


async def test_a_pause_that_is_longer_than_the_time_ends_the_watch_at_once() -> None:
    asks = FakeAnswer(200, run_json("run_1", "CREATED"), {"Retry-After": "40"})
    client, transport, clock = client_of(asks)
    watch = client.watch("run_1", timeout=30)
    await anext(watch)

    with pytest.raises(RunTimeoutError):
        await anext(watch)
    assert clock.now() - START == 0
    assert len(transport.requests) == 1


async def test_after_a_timeout_the_iteration_is_over() -> None:
    client, _, _ = client_of(shows("CREATED"))
    watch = client.watch("run_1", timeout=0)
    await anext(watch)
    with pytest.raises(RunTimeoutError):
        await anext(watch)

    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_the_last_error_is_the_cause_of_a_timeout() -> None:
    client, _, _ = client_of(FakeAnswer(500))

    with pytest.raises(RunTimeoutError) as caught:
        await anext(client.watch("run_1", timeout=10))

    assert isinstance(caught.value.__cause__, ServerError)


async def test_a_closed_watch_is_over() -> None:
    client, transport, _ = client_of(shows("CREATED"))
    watch = client.watch("run_1")
    await anext(watch)
    await watch.aclose()

    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    assert len(transport.requests) == 1
