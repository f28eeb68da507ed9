"""`Prefer: wait`: the server answers at the change; one request at a time; a server that lies is not believed."""

import asyncio
import statistics
import time
from collections.abc import Callable

import pytest
from faults.support import FLOW, SOURCE, client_for, held, leaping_client, run_reply
from loopback import Loopback, Request, Step, html_502, reply, reset
from loopback_steps import Reply
from run_service import RunService

from lume_async import RunTimeoutError

STATUSES = ["CREATED", "EXTRACTING", "TRANSFORMING", "LOADING", "SUCCEEDED"]


async def a_held_request(service: RunService, number: int = 1) -> None:
    """Wait until the server holds the number-th request of this kind, counted from the start."""
    async with service._changed:
        await service._changed.wait_for(lambda: sum(map(held, service.requests)) >= number)


def lying(status: str, *, etag: str = '"1"') -> Reply:
    """A server that says that it can hold a request, and answers at once."""
    said = run_reply(status)
    return reply(200, said.body, headers={"Lume-Capabilities": "wait", "ETag": etag})


async def test_the_end_is_noticed_within_50_ms_of_the_server_knowing_it() -> None:
    late = []
    async with (
        RunService(["TRANSFORMING", "SUCCEEDED"], by_hand=True) as service,
        client_for(service) as client,
    ):
        for number in range(1, 21):
            run = await client.run(FLOW, f"{number}.csv")
            wait = asyncio.create_task(run.wait())
            await a_held_request(service, number)
            service.move(service.runs[run.id])
            ended = time.monotonic()
            await wait
            late.append(time.monotonic() - ended)

    assert statistics.median(late) < 0.05
    assert max(late) < 2  # far from the 5 s of plain polling, even on a machine with other work


async def test_one_request_is_under_way_and_each_change_costs_one() -> None:
    async with RunService(STATUSES, by_hand=True) as service, client_for(service) as client:
        run = await client.run(FLOW, SOURCE)
        wait = asyncio.create_task(run.wait())
        for number in range(1, len(STATUSES)):
            await a_held_request(service, number)
            assert sum(map(held, service.requests)) == number
            service.move(service.runs[run.id])
        await wait

        assert service.connections == 1  # never two at once
    assert service.count("GET") == len(STATUSES) - 1


async def test_the_capability_may_go_and_come_back() -> None:
    async with RunService(STATUSES, by_hand=True) as service:
        client, clock = leaping_client(service)
        async with client:
            run = await client.run(FLOW, SOURCE)
            wait = asyncio.create_task(run.wait())
            await a_held_request(service)

            service.capabilities = {"idempotency"}
            service.move(service.runs[run.id])
            seen = len(service.requests)
            await service.received(seen + 3)
            plain = [held(request) for request in service.requests[seen:]]
            waited = list(clock.sleeps)

            service.capabilities = {"idempotency", "wait"}
            await a_held_request(service, 2)
            for _ in STATUSES[2:]:
                service.move(service.runs[run.id])
            await wait

    assert plain[:3] == [False, False, False]
    assert waited
    assert run.succeeded


@pytest.mark.parametrize("etags", ["the same", "another each time"])
async def test_a_server_that_only_says_that_it_waits_is_polled_as_usual(etags: str) -> None:
    count = 0

    def answer(_request: Request) -> Step:
        nonlocal count
        count += 1
        return lying("TRANSFORMING", etag='"1"' if etags == "the same" else f'"{count}"')

    async with Loopback(answer) as server:
        client, clock = leaping_client(server)
        async with client:
            with pytest.raises(RunTimeoutError):
                await client.attach("run_1").wait(timeout=60)

    assert any(map(held, server.requests))
    assert 12 <= len(server.requests) <= 30  # 0.5 s growing to 5 s, as without the capability
    assert min(clock.sleeps[3:-1]) > 1


@pytest.mark.thorough
async def test_a_server_that_never_answers_costs_one_attempt_and_the_wait_goes_on() -> None:
    statuses = ["TRANSFORMING", "TRANSFORMING", "SUCCEEDED"]
    async with RunService(statuses) as service, client_for(service, request_timeout=0.3) as client:
        theirs = service.add()
        service.fault(None, run_reply().stall())
        run = await client.attach(theirs.id).wait(timeout=1.9)

    assert run.succeeded
    assert any(map(held, service.requests))


@pytest.mark.parametrize("fault", [reset, html_502, lambda: run_reply().cut("body"), lambda: reply(200)])
async def test_a_fault_while_held_does_not_end_the_wait(fault: Callable[[], Step]) -> None:
    async with RunService(["TRANSFORMING", "SUCCEEDED"], by_hand=True) as service:
        client, _ = leaping_client(service)
        async with client:
            run = await client.run(FLOW, SOURCE)
            service.fault(fault(), fault(), fault(), fault())
            wait = asyncio.create_task(run.wait())
            await a_held_request(service, 5)
            service.move(service.runs[run.id])
            await wait

    assert run.succeeded


async def test_held_requests_leave_half_of_the_connections_to_short_ones() -> None:
    async with RunService(["TRANSFORMING", "SUCCEEDED"], by_hand=True) as service:
        for number in range(20):
            service.add(FLOW, f"{number}.csv")
        async with client_for(service, max_connections=4) as client:
            first = await client.run_status("run_1")
            waits = [asyncio.create_task(client.attach(run_id).wait()) for run_id in service.runs]
            await a_held_request(service, 2)
            for _ in range(20):
                await first.refresh()  # would stand in a queue of 30 s

            assert service.connections <= 4
            for run in service.runs.values():
                service.move(run)
            await asyncio.gather(*waits)
