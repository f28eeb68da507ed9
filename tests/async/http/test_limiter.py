"""Places for requests: never more than there are, none ever lost, first come, first served."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._http.sender import Slots


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
