"""A server that refuses: one bad backend of five, a Retry-After without measure."""

import asyncio
import random
from typing import Any

import pytest
from faults.support import ENOUGH, FLOW, SEED, SOURCE, client_for
from loopback import throttled
from loopback_steps import Request, Step
from run_service import RunService

from lume_async import RateLimitError, RunRequest

LOOKS = ["CREATED", *["TRANSFORMING"] * 6, "SUCCEEDED"]


class OneBadBackend(RunService):
    """Of five backends one refuses whatever it gets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(LOOKS, capabilities=(), **options)
        self.chance = random.Random(SEED)
        self.turned_away = 0

    def _step(self, request: Request) -> Step:
        if self.chance.random() < 0.2:
            self.turned_away += 1
            return throttled(None, 503)
        return super()._step(request)


@pytest.mark.thorough
async def test_a_bad_backend_of_five_hardly_delays_fifty_runs() -> None:
    """A client that slows down at each refusal needs a minute."""
    async with OneBadBackend() as service, client_for(service) as client:
        ids = [service.add(source_path=f"{n}.csv").id for n in range(50)]
        async with asyncio.timeout(ENOUGH):
            outcomes = await client.wait_all(ids, poll_interval=0.2)

    assert all(outcome.result().succeeded for outcome in outcomes)
    assert service.turned_away > 50


@pytest.mark.thorough
async def test_a_bad_backend_of_five_ends_no_item_of_a_batch() -> None:
    async with OneBadBackend() as service, client_for(service) as client:
        requests = [RunRequest(FLOW, f"{n}.csv") for n in range(60)]
        async with asyncio.timeout(2 * ENOUGH):
            outcomes = [outcome async for outcome in client.run_many(requests, poll_interval=0.2)]

    assert all(outcome.result().succeeded for outcome in outcomes)
    assert len(service.runs) == 60


@pytest.mark.parametrize("retry_after", ["3600", "99999999999"])
async def test_a_pause_that_one_submission_is_told_closes_the_client_for_nobody_else(
    retry_after: str,
) -> None:
    async with RunService() as service, client_for(service) as client:
        service.lose(throttled(retry_after), committed=False)
        with pytest.raises(RateLimitError) as caught:
            await client.run(FLOW, SOURCE)
        async with asyncio.timeout(ENOUGH):
            run = await client.run(FLOW, "b.csv")
            await run.wait()

    assert caught.value.retry_after == float(retry_after)
    assert run.succeeded
