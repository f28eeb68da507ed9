"""Connections: a fair limit of our own, deadlines that hold, nothing sent twice unseen, nothing leaked."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from faults.support import FLOW, SEED, SOURCE, After, client_for, leaping_client, run_reply
from loopback import Loopback, forever, gone, hang_up, redirect, reply, reset
from run_service import RunService

from lume_async import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    RequestFinished,
    Retry,
    SubmissionUnknownError,
)
from lume_async._http import transport
from lume_async._http.session import SENDS
from lume_async._http.time_limits import TimeLimit, TimeLimits

ONCE = Retry(attempts=1)


@pytest.mark.thorough
async def test_waiting_for_a_place_is_not_taken_for_a_slow_server() -> None:
    """200 requests of 20 ms through 2 places need 2 s: longer than one request may take."""
    options = {"max_connections": 2, "request_timeout": 1.5, "retry": ONCE}
    async with (
        Loopback([forever(After(0.02, run_reply()))]) as server,
        client_for(server, **options) as client,
    ):
        runs = await asyncio.gather(*(client.run_status("run_1") for _ in range(200)))

    assert len(runs) == len(server.requests) == 200
    assert server.connections == 2


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_answer_that_drips_ends_with_its_attempt(framing: str) -> None:
    answer = reply(200, run_reply().body, framing=framing).drip(0.05)
    options = {"request_timeout": 0.4, "retry": ONCE}
    async with Loopback([forever(answer)]) as server, client_for(server, **options) as client:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(ApiTimeoutError):
            await client.run_status("run_1")
        took = loop.time() - begun

    assert 0.399 <= took < 5  # the clock of uvloop counts milliseconds; the whole body takes more than 10 s


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue of new connections is full: connecting neither succeeds nor fails."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_submission_that_never_got_a_connection_is_not_lost(full_port: int) -> None:
    server = Loopback([])
    server.port = full_port
    async with client_for(server, request_timeout=0.3, retry=ONCE) as client:
        with pytest.raises(ApiTimeoutError, match="no connection in time") as caught:
            await client.run(FLOW, SOURCE, force_rerun=True)

    assert not isinstance(caught.value, SubmissionUnknownError)
    assert not caught.value.reached


async def test_a_view_with_more_time_has_it_for_connecting_too(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    async with Loopback([run_reply()]) as server:
        named = f"http://localhost:{server.port}"
        async with client_for(server, base_url=named, request_timeout=0.1, retry=ONCE) as client:
            assert (await client.with_options(request_timeout=30).run_status("run_1")).id == "run_1"


async def test_the_limits_of_an_attempt_are_those_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp's own 5 minutes would cut a longer attempt."""
    told: list[aiohttp.ClientTimeout] = []
    limits: list[float] = []

    send = getattr(aiohttp.ClientSession, SENDS)

    def spy(self: aiohttp.ClientSession, *arguments: Any, **options: Any) -> Any:
        told.append(options["timeout"])
        return send(self, *arguments, **options)

    def limit(all_limits: TimeLimits, seconds: float) -> TimeLimit:
        limits.append(seconds)
        return TimeLimit(all_limits, seconds)

    monkeypatch.setattr(aiohttp.ClientSession, SENDS, spy)
    monkeypatch.setattr(transport, "TimeLimit", limit)
    async with Loopback([run_reply()]) as server, client_for(server, request_timeout=900) as client:
        await client.run_status("run_1")

    assert [(limit.total, limit.connect) for limit in told] == [(None, 10)]
    assert limits == [900]


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("step", [hang_up(), reset()], ids=["closed", "reset"])
async def test_a_get_on_a_kept_connection_that_breaks_is_sent_as_often_as_is_counted(
    step: object, attempts: int
) -> None:
    events: list[object] = []
    async with Loopback([run_reply(), forever(step)]) as server:  # type: ignore[list-item]
        client, _ = leaping_client(server, retry=Retry(attempts=attempts), hooks=[events.append])
        async with client:
            await client.run_status("run_1")
            with pytest.raises(ApiConnectionError) as caught:
                await client.run_status("run_1")

    assert caught.value.attempts == attempts
    assert len(server.requests) == 1 + attempts
    assert sum(isinstance(event, RequestFinished) for event in events) == 1 + attempts


async def test_a_cancel_on_a_kept_connection_that_breaks_is_counted_too() -> None:
    async with Loopback([run_reply(), hang_up(), run_reply("CANCELLED")]) as server:
        client, _ = leaping_client(server)
        async with client:
            run = await client.run_status("run_1")
            await run.cancel()

    assert [request.method for request in server.requests] == ["GET", "POST", "POST"]
    assert run.status == "CANCELLED"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["submit", "look", "wait", "cancel", "list"])
async def test_no_redirect_takes_the_key_or_the_body_elsewhere(status: int, what: str) -> None:
    async with Loopback([]) as elsewhere, Loopback([redirect(status, f"{elsewhere.url}/v1/runs")]) as server:
        async with client_for(server) as client:
            with pytest.raises(ApiError, match="redirects are never followed") as caught:
                match what:
                    case "submit":
                        await client.run(FLOW, SOURCE, force_rerun=True)
                    case "look":
                        await client.run_status("run_1")
                    case "wait":
                        await client.attach("run_1").wait()
                    case "cancel":
                        await client.attach("run_1").cancel()
                    case "list":
                        await anext(client.list_runs())

        assert elsewhere.connections == 0
    assert caught.value.status_code == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
async def test_after_a_storm_of_cancelled_requests_every_place_is_free(seed: int) -> None:
    rng = random.Random(seed)
    async with Loopback([forever(run_reply())]) as server, client_for(server, max_connections=2) as client:
        alive: list[asyncio.Task[object]] = []
        for _ in range(700):
            alive.append(asyncio.create_task(client.run_status("run_1")))
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            if len(alive) > 8:
                alive.pop(rng.randrange(len(alive))).cancel()
        for task in alive:
            task.cancel()
        await asyncio.gather(*alive, return_exceptions=True)

        assert all(run.succeeded for run in [await client.run_status("run_1") for _ in range(10)])
        both = await asyncio.gather(client.run_status("run_1"), client.run_status("run_1"))
        assert len(both) == 2
        assert len(asyncio.all_tasks()) <= 2 + 2 * server.open_connections


async def test_an_answer_to_a_cancelled_request_is_never_given_to_the_next() -> None:
    script = [run_reply(run_id="first").stall("body"), run_reply(run_id="second")]
    async with Loopback(script) as server, client_for(server) as client:
        first = asyncio.create_task(client.run_status("first"))
        await server.received(1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        server.release()
        second = await client.run_status("second")

    assert second.id == "second"


async def test_a_server_that_restarts_between_two_requests() -> None:
    async with RunService() as service:
        client, clock = leaping_client(service)
        async with client:
            run = await client.run(FLOW, SOURCE)
            service.fault(gone())
            sleep = clock.sleep

            async def restart(seconds: float) -> None:
                await service.accept()
                await sleep(seconds)

            clock.sleep = restart  # type: ignore[method-assign]
            await run.wait()

    assert run.succeeded
