"""The request limiter: never more requests than `max_connections`, no slot ever lost, first come, first served."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async import Client
from lume_async._wire.call import Response
from lume_async.testing import fake_client


class Answering:
    """A transport that answers when it is told to, and knows who asks."""

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Future[None]] = {}
        self.most = 0
        self.order: list[str] = []

    async def request(self, method: str, path: str, **_: Any) -> Response:
        name = path.rpartition("/")[2]
        self.order.append(name)
        self.under_way[name] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.under_way))
        try:
            await self.under_way[name]
        finally:
            del self.under_way[name]
        return Response(200, {}, b'{"id": "%s", "status": "CREATED"}' % name.encode())

    async def aclose(self) -> None: ...


def limited(places: int) -> tuple[Client, Answering]:
    client, _ = fake_client([], max_connections=places)
    client._sender._transport = answering = Answering()
    return client, answering


async def turns() -> None:
    """Let everybody go as far as they get."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_is_served_before_who_comes() -> None:
    client, server = limited(1)
    tasks = [asyncio.ensure_future(client.run_status(name)) for name in "abc"]
    await turns()
    assert server.order == ["a"]
    server.under_way["a"].set_result(None)
    await asyncio.sleep(0)
    tasks.append(asyncio.ensure_future(client.run_status("late")))
    for name in ("b", "c", "late"):
        await turns()
        server.under_way[name].set_result(None)
    await asyncio.gather(*tasks)
    assert server.order == ["a", "b", "c", "late"]
    assert server.most == 1


@pytest.mark.parametrize("when", ["waiting", "served", "in the same turn"])
async def test_a_cancelled_one_takes_no_slot_with_it(when: str) -> None:
    client, server = limited(1)
    begun, first, second = (asyncio.ensure_future(client.run_status(name)) for name in "abc")
    await turns()
    if when == "waiting":
        first.cancel()
        await turns()
    server.under_way["a"].set_result(None)
    if when == "served":
        await begun
        first.cancel()
    elif when == "in the same turn":
        first.cancel()
    await turns()
    server.under_way["c"].set_result(None)
    await asyncio.gather(begun, second)
    assert first.cancelled()


@given(places=st.integers(1, 4), seed=st.integers())
def test_after_a_storm_every_slot_is_free(places: int, seed: int) -> None:
    rng = random.Random(seed)

    async def storm() -> None:
        client, server = limited(places)
        tasks = []
        for number in range(30):
            tasks.append(asyncio.ensure_future(client.run_status(f"run_{number}")))
            if rng.random() < 0.5:
                await asyncio.sleep(0)
            if rng.random() < 0.3:
                rng.choice(tasks).cancel()
            for answer in list(server.under_way.values()):
                if rng.random() < 0.3 and not answer.done():
                    answer.set_result(None)
        while not all(task.done() for task in tasks):
            for answer in list(server.under_way.values()):
                if not answer.done():
                    answer.set_result(None)
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [it for it in results if isinstance(it, Exception)]
        assert server.most <= places
        again = [asyncio.ensure_future(client.run_status(f"again_{number}")) for number in range(places + 1)]
        await turns()
        assert len(server.under_way) == places
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)

    asyncio.run(storm())
