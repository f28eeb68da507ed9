"""A client that is closed under its calls: they end at once, however long they meant to sleep."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faults.support import FLOW, SOURCE, client_for
from loopback import reply, reset, throttled
from run_service import ALL, RunService

from lume_async import Backoff, Client, ClientClosedError, Retry, RunRequest, SubmissionUnknownError

FOR_AN_HOUR = 3_600
SLOWLY = Retry(attempts=3, backoff=Backoff(FOR_AN_HOUR, maximum=FOR_AN_HOUR, jitter=0))


async def watch(client: Client) -> None:
    async for _snapshot in client.watch("run_1", poll_interval=FOR_AN_HOUR):
        pass


async def monitor(client: Client) -> None:
    async with client.monitor(poll_interval=FOR_AN_HOUR) as monitor:
        monitor.add("run_1")
        monitor.add("run_2")
        async for _event in monitor:
            pass


async def idle_monitor(client: Client) -> None:
    async with client.monitor() as monitor:
        await anext(monitor)


async def run_many(client: Client) -> None:
    requests = [RunRequest(FLOW, f"{n}.csv") for n in range(3)]
    async for _outcome in client.run_many(requests, poll_interval=FOR_AN_HOUR, timeout=FOR_AN_HOUR):
        pass


USES: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "wait": lambda client: client.attach("run_1").wait(None, FOR_AN_HOUR),
    "wait_for_run_completion": lambda client: client.wait_for_run_completion("run_1", 9, FOR_AN_HOUR),
    "watch": watch,
    "wait_all": lambda client: client.wait_all(["run_1"], timeout=FOR_AN_HOUR, poll_interval=FOR_AN_HOUR),
    "monitor": monitor,
    "idle monitor": idle_monitor,
    "run_many": run_many,
}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "from another thread"])
@pytest.mark.parametrize("capabilities", [(), ALL], ids=["bare", "holds requests"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_what_waits_hears_of_the_end_at_once(
    use: Callable[[Client], Awaitable[Any]], capabilities: tuple[str, ...], elsewhere: bool
) -> None:
    async with RunService(["CREATED"], by_hand=True, capabilities=capabilities) as service:
        for source in ("1.csv", "2.csv"):
            service.add(source_path=source)
        client = client_for(service)
        await client.run_status("run_1")
        call = asyncio.ensure_future(use(client))
        await asleep(client)
        await (asyncio.to_thread(asyncio.run, client.aclose()) if elsewhere else client.aclose())
        with pytest.raises(ClientClosedError):
            await call


async def test_a_retry_that_is_waited_for_is_none() -> None:
    async with RunService() as service:
        service.fault(reply(500))
        client = client_for(service, retry=SLOWLY)
        call = asyncio.ensure_future(client.run_status("run_1"))
        await asleep(client)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await call
    assert len(service.requests) == 1


async def test_who_waits_at_the_gate_is_turned_away() -> None:
    async with RunService() as service:
        service.fault(throttled("30"))
        client = client_for(service, retry=Retry(attempts=1))
        with pytest.raises(Exception, match="429"):
            await client.run_status("run_1")
        calls = [asyncio.ensure_future(client.run_status("run_1")) for _ in range(3)]
        await asleep(client)
        await client.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientClosedError] * 3
    assert len(service.requests) == 1


@pytest.mark.parametrize("under_way", [False, True], ids=["before the retry", "under way"])
async def test_a_submission_whose_answer_can_not_come_any_more_may_have_made_a_run(under_way: bool) -> None:
    async with RunService() as service:
        service.lose(reply(201).stall() if under_way else reset(), committed=True)
        client = client_for(service, retry=SLOWLY)
        call = asyncio.ensure_future(client.run(FLOW, SOURCE, idempotency_key="mine"))
        await (service.received(1) if under_way else asleep(client))
        await client.aclose()
        with pytest.raises(SubmissionUnknownError, match="the client was closed") as caught:
            await call
    assert isinstance(caught.value.__cause__, ClientClosedError)
    assert caught.value.idempotency_key == "mine"
    assert len(service.runs) == 1


async def test_a_submission_that_was_not_sent_made_none() -> None:
    async with RunService() as service:
        service.lose(throttled("30"), committed=False)
        client = client_for(service)
        call = asyncio.ensure_future(client.run(FLOW, SOURCE))
        await asleep(client)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await call
    assert not service.runs


async def asleep(client: Client) -> None:
    """Until somebody sleeps, or has left a request with the server."""
    while not (client._sender.clock._told or client._sender._held):
        await asyncio.sleep(0)
