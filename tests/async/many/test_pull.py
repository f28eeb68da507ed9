"""pull: plain and asynchronous iterables alike; who leaves early closes an asynchronous generator."""

from collections.abc import AsyncIterator

from fake_service import Service

from lume_async import RunRequest
from lume_async._many.iterables import pull
from lume_async.testing import fake_client


async def test_plain_and_asynchronous_iterables() -> None:
    async def source() -> AsyncIterator[int]:
        for n in range(3):
            yield n

    assert [n async for n in pull(range(3))] == [0, 1, 2]
    assert [n async for n in pull(source())] == [0, 1, 2]


async def test_leaving_early_closes_an_asynchronous_generator() -> None:
    closed = False

    async def source() -> AsyncIterator[int]:
        nonlocal closed
        try:
            while True:
                yield 1
        finally:
            closed = True

    kept = source()  # else the collector closes it
    items = pull(kept)
    assert await anext(items) == 1
    await items.aclose()
    assert closed


async def test_leaving_run_many_early_closes_the_generator_of_its_requests() -> None:
    closed = False

    async def source() -> AsyncIterator[RunRequest]:
        nonlocal closed
        try:
            while True:
                yield RunRequest("f:v1", "s", force_rerun=True)
        finally:
            closed = True

    service, requests = Service(), source()
    client, _ = fake_client(service, clock=service.clock)
    outcomes = client.run_many(requests, max_active=2)
    await anext(outcomes)
    await outcomes.aclose()  # type: ignore[attr-defined]
    assert closed


async def test_an_iterator_that_cannot_be_closed_is_left_as_it_is() -> None:
    class Numbers(AsyncIterator[int]):
        async def __anext__(self) -> int:
            return 1

    numbers = Numbers()
    items = pull(numbers)
    assert await anext(items) == 1
    await items.aclose()
    assert await anext(numbers) == 1
