"""run_many at its deadline: every outcome first, then an error if the input had not ended."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_service import Service, client_of, other_tasks

from lume_async import LumeRun, Outcome, RunRequest, RunTimeoutError


def requests(count: int) -> Iterator[RunRequest]:
    return (RunRequest("f:v1", f"s{n}") for n in range(count))


async def stepwise(count: int) -> AsyncIterator[RunRequest]:
    """So many requests, with a pause after each, also before the end."""
    for request in requests(count):
        yield request
        await asyncio.sleep(0)


async def endless() -> AsyncIterator[RunRequest]:
    """Three requests, and then none for an hour."""
    for request in requests(3):
        yield request
    await asyncio.sleep(3_600)


async def all_of(outcomes: AsyncIterator[Outcome[LumeRun]]) -> list[Outcome[LumeRun]]:
    return [outcome async for outcome in outcomes]


async def collect_until(
    outcomes: AsyncIterator[Outcome[LumeRun]], error: type[Exception]
) -> tuple[list[Outcome[LumeRun]], Exception]:
    """The outcomes before the error that ends them."""
    seen = []
    with pytest.raises(error) as caught:
        async for outcome in outcomes:
            seen.append(outcome)
    return seen, caught.value


@pytest.mark.parametrize("journal", [None, "j.db"])
@pytest.mark.parametrize(
    "given",
    [lambda: requests(100), lambda: list(requests(100)), endless],
    ids=["iterator", "list", "asynchronous"],
)
async def test_past_the_deadline_nothing_more_is_taken_and_what_is_left_is_an_error(
    tmp_path: Path, given: Callable[[], Any], journal: str | None
) -> None:
    service = Service(lasts=8.0)
    client, path = client_of(service), journal and tmp_path / journal
    outcomes, error = await collect_until(
        client.run_many(given(), max_active=10, timeout=20, poll_interval=1, journal=path), RunTimeoutError
    )
    late = [outcome.error for outcome in outcomes if outcome.error]
    assert len(outcomes) == len(service.created) < 100
    for each in late:
        assert isinstance(each, RunTimeoutError)
        assert each.run.status == "TRANSFORMING"
    if journal is None:  # while the file is written, the fake clock jumps
        assert service.clock.now() < 23
        assert len(late) == (0 if given is endless else 10)
    assert str(error).startswith("the timeout of 20 s passed before the end of the requests")
    assert f": {len(outcomes)} were taken" in str(error)
    # The first that was not submitted is known, unless the input was being waited for.
    assert (f", from 's{len(outcomes)}' on, were not submitted" in str(error)) == (given is not endless)
    assert isinstance(error, RunTimeoutError)
    assert error.run is None
    assert not other_tasks()


@pytest.mark.parametrize(
    ("given", "max_active"),
    [
        (lambda: requests(3), 4),
        (lambda: requests(3), 3),
        (lambda: stepwise(3), 3),
        (lambda: list(requests(3)), 3),
        (lambda: list(requests(3)), 4),
    ],
    ids=["iterator", "that fills all places", "asynchronous", "list that fills all places", "list"],
)
async def test_a_deadline_after_the_end_of_the_input_is_told_by_the_outcomes_alone(
    given: Callable[[], Any], max_active: int
) -> None:
    client = client_of(Service(lasts=100.0))
    outcomes = await all_of(client.run_many(given(), max_active=max_active, timeout=20))
    assert [type(outcome.error) for outcome in outcomes] == [RunTimeoutError] * 3
    for outcomes in (
        await all_of(client.as_completed(["a", "b"], timeout=1)),
        await client.wait_all(["a", "b"], timeout=1),
    ):
        assert [type(outcome.error) for outcome in outcomes] == [RunTimeoutError] * 2


async def test_an_error_of_the_input_is_raised_even_if_the_deadline_has_passed() -> None:
    async def broken() -> AsyncIterator[RunRequest]:
        try:
            async for request in endless():
                yield request
        finally:
            raise OSError("the list of files went away")

    outcomes, _ = await collect_until(client_of(Service()).run_many(broken(), timeout=1), OSError)
    assert len(outcomes) == 3


async def test_leaving_past_the_deadline_raises_nothing() -> None:
    service = Service(lasts=8.0)
    outcomes = client_of(service).run_many(requests(100), max_active=1, timeout=1)
    await anext(outcomes)
    await outcomes.aclose()
    assert not other_tasks()
