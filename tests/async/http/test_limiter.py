"""Places for requests: never more than there are, none ever lost, first come, first served."""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

import lume_sync
from lume_async._http.sender import Slots
from lume_async._wire.call import Response
from lume_async.testing import fake_client, run_json


async def turn() -> None:
    """Let everybody go as far as they get."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_there_are_so_many_and_no_more() -> None:
    slots = Slots(2)
    assert [slots.take() for _ in range(3)] == [True, True, False]
    slots.release()
    assert [slots.take() for _ in range(2)] == [True, False]


async def test_who_waits_is_served_before_who_comes() -> None:
    slots, served = Slots(1), list[str]()

    async def work(name: str) -> None:
        await slots.acquire()
        served.append(name)

    assert slots.take()
    tasks = [asyncio.ensure_future(work(name)) for name in "abc"]
    await turn()
    slots.release()
    assert not slots.take()  # it is the first one's already
    await turn()
    assert served == ["a"]
    slots.release()
    slots.release()
    await asyncio.gather(*tasks)
    assert served == ["a", "b", "c"]


@pytest.mark.parametrize("when", ["waiting", "served", "in the same turn"])
async def test_a_cancelled_one_takes_no_place_with_it(when: str) -> None:
    slots = Slots(1)
    assert slots.take()
    first, second = (asyncio.ensure_future(slots.acquire()) for _ in range(2))
    await turn()
    if when == "waiting":
        first.cancel()
        await turn()
        slots.release()
    elif when == "served":
        slots.release()
        first.cancel()
    else:
        first.cancel()
        slots.release()
    await second
    assert first.cancelled()
    assert not slots.take()
    slots.release()
    assert slots.take()


@given(places=st.integers(1, 4), seed=st.integers())
def test_after_a_storm_every_place_is_free(places: int, seed: int) -> None:
    rng = random.Random(seed)

    async def storm() -> None:
        slots, busy, most = Slots(places), 0, 0

        async def work() -> None:
            nonlocal busy, most
            if not slots.take():
                await slots.acquire()
            busy += 1
            most = max(most, busy)
            try:
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)
            finally:
                busy -= 1
                slots.release()

        tasks = []
        for _ in range(30):
            tasks.append(asyncio.ensure_future(work()))
            if rng.random() < 0.5:
                await asyncio.sleep(0)
            if rng.random() < 0.3:
                rng.choice(tasks).cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [it for it in results if it is not None and not isinstance(it, asyncio.CancelledError)]
        assert most <= places
        assert [slots.take() for _ in range(places + 1)] == [True] * places + [False]

    asyncio.run(storm())


@pytest.mark.parametrize("order", ["first come", "last come", "random"])
async def test_of_many_that_wait_each_leaves_without_a_look_at_the_others(order: str) -> None:
    """Counted, not timed: what is compared with another place in the queue."""
    compared = 0

    class Turn(asyncio.Future[None]):
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return self is other

        def cancelled(self) -> bool:
            nonlocal compared
            compared += 1
            return super().cancelled()

    loop = asyncio.get_running_loop()
    slots, crowd = Slots(1), 1_000
    with pytest.MonkeyPatch.context() as patched:
        if isinstance(loop, asyncio.BaseEventLoop):
            patched.setattr(loop, "create_future", lambda: Turn(loop=loop))
        assert slots.take()
        waiting = [asyncio.ensure_future(slots.acquire()) for _ in range(crowd)]
        await turn()
    if order == "last come":
        waiting.reverse()
    elif order == "random":
        random.Random(1).shuffle(waiting)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)

    assert all(task.cancelled() for task in waiting)
    assert compared <= 5 * crowd
    slots.release()
    assert slots.take()


class Crowded:
    """A transport that counts its requests in each loop, and calls a function when a loop has five."""

    def __init__(self, five: Callable[[], object]) -> None:
        self.five, self.most = five, Counter[int]()
        self._now = Counter[int]()

    async def request(self, method: str, path: str, **_: Any) -> Response:
        loop = id(asyncio.get_running_loop())
        self._now[loop] += 1
        self.most[loop] = max(self.most[loop], self._now[loop])
        if self._now[loop] == 5:
            self.five()
        await turn()
        self._now[loop] -= 1
        body = json.dumps(run_json(path.rpartition("/")[2], "CREATED"))
        return Response(200, CIMultiDict(), body.encode())

    async def aclose(self) -> None: ...


def test_each_loop_of_a_client_has_so_many() -> None:
    together = threading.Barrier(4, timeout=20)
    transport = Crowded(together.wait)  # returns when all loops have five
    client, _ = fake_client([], max_connections=5)
    client._sender._transport = transport

    async def use() -> None:
        await asyncio.gather(*(client.run_status(f"run_{n}") for n in range(5)))

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(asyncio.run, use()) for _ in range(4)]:
            done.result()
    assert transport.most.total() == 20


def test_all_threads_of_a_synchronous_client_share_them() -> None:
    transport = Crowded(lambda: None)
    with lume_sync.Client("key", base_url="http://lume.test", proxy=False, max_connections=5) as client:
        client._core._sender._transport = transport
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(client.run_status, [f"run_{n}" for n in range(40)]))
    assert len(transport.most) == 1
    assert max(transport.most.values()) <= 5
