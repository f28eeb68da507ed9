"""A client that is closed under its calls: they end at once, however long they meant to sleep."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from faults.support import FLOW, SOURCE, client_for
from loopback import reply, reset, throttled
from run_service import ALL, RunService

from lume_async import (
    Backoff,
    Client,
    ClientClosedError,
    LumeRun,
    Outcome,
    RateLimitError,
    Retry,
    RunRequest,
    SubmissionUnknownError,
)
from lume_async._http.throttle import ROW
from lume_async._http.transport import LONGEST_CONNECT, AiohttpTransport
from lume_async._wire import endpoints

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


@pytest.mark.parametrize("listens", [False, True], ids=["silent", "with a hook"])
@pytest.mark.parametrize(
    "use",
    [
        *USES.values(),
        lambda client: client.run(FLOW, SOURCE),
        lambda client: client.run_status("run_1"),
        lambda client: anext(client.list_runs()),
    ],
    ids=[*USES, "run", "run_status", "list_runs"],
)
async def test_a_closed_client_gives_every_call_the_same_advice(
    use: Callable[[Client], Awaitable[Any]], listens: bool
) -> None:
    hooks: list[Any] = [lambda event: None] if listens else []
    async with RunService() as service:
        client = client_for(service, hooks=hooks)
        await client.aclose()
        with pytest.raises(ClientClosedError) as caught:
            await use(client)

    assert str(caught.value) == "the client is closed: create a new one"
    assert not service.requests


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


async def pause(service: RunService, client: Client) -> None:
    """So many refusals in a row that every request of the client waits."""
    service.fault(*[throttled("30")] * ROW)
    for _ in range(ROW):
        with pytest.raises(RateLimitError):
            await client._sender.send(endpoints.status("run_1"), once=True)


async def test_who_waits_for_the_throttle_is_turned_away() -> None:
    async with RunService() as service:
        client = client_for(service)
        await pause(service, client)
        calls = [asyncio.ensure_future(client.run_status("run_1")) for _ in range(3)]
        await asleep(client)
        await client.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientClosedError] * 3
    assert len(service.requests) == ROW


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


class Connecting:
    """Where the way to a server may end: a name that nobody tells, a connection, a handshake that nobody answers."""

    def __init__(self, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.silent = socket.create_server(("127.0.0.1", 0), backlog=0 if stage == "connection" else 100)
        port = self.silent.getsockname()[1]
        self.url = f"{'https' if stage == 'handshake' else 'http'}://127.0.0.1:{port}"
        self.told = threading.Event()
        self.waiting: list[socket.socket] = []
        if stage == "name":
            self.url = "http://service.test"
            monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        elif stage == "connection":
            for _ in range(3):  # what the system takes before the program does
                self.waiting.append(socket.socket())
                self.waiting[-1].setblocking(False)
                self.waiting[-1].connect_ex(("127.0.0.1", port))

    def _getaddrinfo(self, *_arguments: object, **_named: object) -> list[Any]:
        self.told.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]

    def close(self) -> None:
        self.told.set()
        for each in (self.silent, *self.waiting):
            each.close()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "from another thread"])
@pytest.mark.parametrize("submits", [False, True], ids=["look", "submission"])
@pytest.mark.parametrize("stage", ["name", "connection", "handshake"])
async def test_who_has_no_connection_yet_ends_at_once_and_has_sent_nothing(
    stage: str, submits: bool, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Connecting(stage, monkeypatch)) as way:
        client = Client("test-key", base_url=way.url, proxy=False)
        call = asyncio.ensure_future(client.run(FLOW, SOURCE) if submits else client.run_status("run_1"))
        while not _connecting(client):
            await asyncio.sleep(0)
        before = time.monotonic()
        await (asyncio.to_thread(asyncio.run, client.aclose()) if elsewhere else client.aclose())
        (error,) = await asyncio.gather(call, return_exceptions=True)
    assert type(error) is ClientClosedError  # no run can have been made
    assert time.monotonic() - before < LONGEST_CONNECT / 2


def _connecting(client: Client) -> bool:
    transport = client._sender._transport
    assert isinstance(transport, AiohttpTransport)
    sessions = [held.session for held in transport._sessions.values() if hasattr(held, "session")]
    return any(session.connector.connecting for session in sessions)


async def test_a_key_that_comes_too_late_is_not_used() -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def vault() -> str:
        asked.set()
        try:
            await asyncio.sleep(FOR_AN_HOUR)
        except asyncio.CancelledError:
            await closed.wait()  # a function that will not be stopped
        return "test-key"

    async with RunService() as service:
        client = Client(vault, base_url=service.url, proxy=False)
        call = asyncio.ensure_future(client.run(FLOW, SOURCE))
        await asked.wait()
        await client.aclose()
        closed.set()
        with pytest.raises(ClientClosedError):
            await call
    assert not service.requests


async def test_a_journal_knows_what_was_not_sent_before_the_client_was_closed(tmp_path: Path) -> None:
    requests = [RunRequest(FLOW, f"{n}.csv", force_rerun=True) for n in range(3)]
    journal = tmp_path / "state.db"
    async with RunService(capabilities=()) as service:  # it would not know a second submission from the first
        client = client_for(service)
        await pause(service, client)
        first = asyncio.ensure_future(_all(client.run_many(requests, journal=journal)))
        await asleep(client, 2)  # the monitor, the first in the queue of the throttle
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await first
        assert len(service.requests) == ROW
        async with client_for(service) as client:
            outcomes = await _all(client.run_many(requests, journal=journal))
        assert [outcome.error for outcome in outcomes] == [None] * 3
        assert len(service.runs) == 3


async def _all(outcomes: AsyncIterator[Outcome[LumeRun]]) -> list[Outcome[LumeRun]]:
    return [outcome async for outcome in outcomes]


async def asleep(client: Client, count: int = 1) -> None:
    """Until so many would be told of the client's end, or one has left a request with the server."""
    sender = client._sender
    while (
        sum(len(told) for _, told in sender.clock._listeners.items()) < count and not sender.known.long_polls
    ):
        await asyncio.sleep(0)
