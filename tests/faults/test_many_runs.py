"""Many runs at once: one that is broken disturbs no other, leaving early stops the looks; keys; cancelling."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from faults.support import FLOW, client_for, leaping_client, run_reply
from loopback import Loopback, Request, Step, forever, reply
from run_service import RunService

from lume_async import (
    AuthenticationError,
    Client,
    ConfigurationError,
    InvalidRequestError,
    LumeRun,
    PermissionDeniedError,
    RunFailedError,
    RunNotFoundError,
)
from lume_async.testing import no_backoff


def _with_key(server: Loopback, key: Any) -> Client:
    return Client(key, base_url=server.url, proxy=False)


def broken(request: Request) -> Step | None:
    number = int(request.path.rpartition("_")[2])
    if number % 100:
        return None
    return reply(404 if number % 200 else 403)


class PartlyBroken(RunService):
    """Every hundredth run can't be looked at, for a reason that waiting does not change."""

    def _step(self, request: Request) -> Step:
        return (broken(request) if request.path.startswith("/v1/runs/") else None) or super()._step(request)


@pytest.mark.parametrize("capabilities", [(), ("changes", "wait")], ids=["looks", "change feed"])
async def test_ten_broken_runs_of_a_thousand_disturb_no_other(capabilities: tuple[str, ...]) -> None:
    async with PartlyBroken(["TRANSFORMING", "SUCCEEDED"], capabilities=capabilities) as service:
        for number in range(1000):
            service.add(FLOW, f"{number}.csv")
        async with client_for(service) as client:
            outcomes = await client.wait_all(list(service.runs), poll_interval=0.2)

    kinds = Counter(type(outcome.error) for outcome in outcomes)
    assert kinds == {type(None): 990, RunNotFoundError: 5, PermissionDeniedError: 5}
    assert [outcome.run_id for outcome in outcomes] == list(service.runs)


@pytest.mark.parametrize("capabilities", [(), ("changes", "wait")], ids=["looks", "change feed"])
async def test_leaving_early_stops_every_look(capabilities: tuple[str, ...]) -> None:
    tasks = asyncio.all_tasks()
    async with RunService(["TRANSFORMING", "SUCCEEDED"], by_hand=True, capabilities=capabilities) as service:
        for number in range(100):
            service.add(FLOW, f"{number}.csv")
        service.move(service.runs["run_1"])
        async with client_for(service) as client:
            outcomes = client.as_completed(list(service.runs), poll_interval=0.1)
            first = await anext(outcomes)
            await outcomes.aclose()

            left = [t for t in asyncio.all_tasks() - tasks if "lume_async" in str(t.get_coro())]
            assert left == []
            seen = -1
            while seen < len(service.requests):  # what was on its way arrives; then nobody asks any more
                seen = len(service.requests)
                await asyncio.sleep(0.3)
        assert first.run_id == "run_1"
        assert len(service.requests) == seen


async def test_a_key_that_rotates_fails_nobody() -> None:
    """Another key after every 200th request, the one before it is still good; a thousand waits."""
    asked = 0
    current = 0
    served = refused = 0

    async def key() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return f"key-{current}"

    def answer(request: Request) -> Step:
        nonlocal served, refused, current
        served += 1
        if request.headers["lume-api-key"] not in (f"key-{current}", f"key-{current - 1}"):
            refused += 1  # it was connecting while others on kept connections made the key rotate twice
            return reply(401)
        if served % 200 == 0:
            current += 1
        return run_reply(run_id=request.path.rpartition("/")[2])

    async with Loopback(answer) as server, _with_key(server, key) as client:
        runs = await asyncio.gather(*(client.attach(f"run_{n}").wait() for n in range(1000)))

    assert all(run.succeeded for run in runs)
    assert asked <= served == 1000 + refused
    assert refused <= 100  # as many as connect at a time


async def test_a_refused_key_is_asked_for_anew_once_and_then_refused_for_good() -> None:
    asked: list[int] = []

    def key() -> str:
        asked.append(1)
        return f"key-{len(asked)}"

    async with Loopback([forever(reply(401))]) as server, _with_key(server, key) as client:
        with pytest.raises(AuthenticationError):
            await client.attach("run_1").wait()

    assert [r.headers["lume-api-key"] for r in server.requests] == ["key-1", "key-2"]


async def test_those_who_look_at_many_ask_for_a_refused_key_anew_as_well() -> None:
    keys = iter(["old"])

    def answer(request: Request) -> Step:
        if request.headers["lume-api-key"] == "old":
            return reply(401)
        return run_reply(run_id=request.path.rpartition("/")[2])

    async with Loopback(answer) as server, _with_key(server, lambda: next(keys, "new")) as client:
        outcomes = await client.wait_all(["run_1", "run_2"])

    assert all(outcome.result().succeeded for outcome in outcomes)


async def test_a_key_function_that_fails_is_no_failed_run() -> None:
    away = iter([OSError("the vault is away")] * 10)

    def key() -> str:
        if (error := next(away, None)) is not None:
            raise error
        return "key"

    async with Loopback([run_reply(run_id="run_1")]) as server, _with_key(server, key) as client:
        with no_backoff():
            assert (await client.attach("run_1").wait()).succeeded


@pytest.mark.parametrize("status", ["CREATED", "TRANSFORMING", "SUCCEEDED", "FAILED", "CANCELLED"])
async def test_cancelling_twice_gives_the_true_status(status: str) -> None:
    async with RunService([status], by_hand=True) as service:
        theirs = service.add()
        async with client_for(service) as client:
            run = await client.run_status(theirs.id)
            await run.cancel()
            await run.cancel()

    assert run.status == ("CANCELLED" if status in ("CREATED", "TRANSFORMING") else status)


async def test_a_run_that_is_still_stopping_is_waited_for() -> None:
    stopping = run_reply("TRANSFORMING", code=202)
    async with Loopback([stopping, run_reply("TRANSFORMING"), run_reply("CANCELLED")]) as server:
        client, _ = leaping_client(server)
        async with client:
            run: LumeRun = client.attach("run_1")
            await run.cancel()
            with pytest.raises(RunFailedError):
                await run.wait()

    assert run.status == "CANCELLED"


BAD_IDS = [
    "",
    "..",
    ".",
    "a/b",
    "a%2Fb",
    "run\r\nx: y",
    "run\n",
    "r\0",
    "rün",
    "x" * 129,
    "a b",
    "a?b",
    "a#b",
]


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
async def test_an_id_that_would_re_aim_a_request_is_not_sent(bad: str) -> None:
    async with Loopback([]) as server, client_for(server) as client:
        with pytest.raises(InvalidRequestError):
            client.attach(bad)
        with pytest.raises(InvalidRequestError):
            await client.run_status(bad)
        with pytest.raises(InvalidRequestError):
            await client.wait_all([bad])

    assert server.connections == 0


BAD_KEYS = {"crlf": "k\r\nx: y", "nul": "k\0", "not ASCII": "schlüssel", "long": "k" * 20_000, "blank": " "}


@pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_a_header_that_would_inject_is_not_sent_and_not_repeated(bad: str) -> None:
    async with Loopback([]) as server, client_for(server) as client:
        with pytest.raises(InvalidRequestError) as refused:
            await client.run(FLOW, "a.csv", idempotency_key=bad)
        with pytest.raises(ConfigurationError) as unset:
            _with_key(server, bad)

    assert server.connections == 0
    for error in (refused, unset):
        assert bad.strip() == "" or bad not in str(error.value)
