"""Thousands of waits before a server that takes 100 requests a second, or refuses some at random: all end soon."""

import asyncio
import math
import random
import statistics
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import depth
import orjson
import pytest
from faults.support import SEED
from limits import LimitedServer as Limited
from limits import TokenBucket, Unlimited
from multidict import CIMultiDict

from lume_async import Client
from lume_async._http.transport import Body
from lume_async._wire.call import Response
from lume_async.testing import run_json
from lume_async.testing._loop import VirtualLoop

T = TypeVar("T")
RATE = 100.0
CROWD = 5_000
SEARCHING = 2.0
"""Seconds after the first refusal in which the client looks for the rate."""


class VirtualClock:
    """The loop's time as a `Clock` of the library."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LimitedServer:
    """A transport: a limited server before runs that end after a while.

    Args:
        lasts: seconds until the runs end.
        took: seconds until an answer, half as much more or less.
    """

    def __init__(self, seed: int, limited: Limited, *, lasts: float, took: float = 0.02) -> None:
        self.limited = limited
        self.served: Counter[int] = Counter()
        """Requests that arrived after the rate was looked for, by the tenth of a second."""
        self.first_refusal = math.inf
        self._rng = random.Random(seed)
        self._begun: float | None = None
        self._lasts = lasts
        self._took = took

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Body, timeout: float
    ) -> Response:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._took * self._rng.uniform(0.25, 0.75))
        self._begun = loop.time() if self._begun is None else self._begun
        now = loop.time() - self._begun
        if now > self.first_refusal + SEARCHING:
            self.served[math.floor(now * 10)] += 1
        work, headers = self.limited.take(now, self._rng.random()), self.limited.headers(now)
        await asyncio.sleep((work or 0.0) + self._took * self._rng.uniform(0.25, 0.75))
        if work is None:
            self.first_refusal = min(self.first_refusal, now)
            return Response(429, CIMultiDict(headers), b"")
        status = "SUCCEEDED" if now >= self._lasts else "TRANSFORMING"
        return Response(200, CIMultiDict(), orjson.dumps(run_json(path.rpartition("/")[2], status)))

    async def aclose(self) -> None:
        pass

    def report(self) -> tuple[float, float]:
        """The share of refusals, and the fullest tenth of a second after the first one against what is taken in one.

        Not against the mean: whoever asks for less altogether would look the worse.
        """
        limited = self.limited
        return limited.refused / limited.arrived, max(self.served.values()) / (RATE / 10)


async def crowd(server: LimitedServer, seed: int, how: str, runs: int = CROWD) -> list[bool]:
    client = Client("test-key", base_url="http://lume.test", proxy=False)
    client._sender = client._sender.over(server, clock=VirtualClock(), rng=random.Random(seed))
    ids = [f"run_{number}" for number in range(runs)]
    if how == "one wait each":
        runs = await asyncio.gather(*(client.attach(run_id).wait() for run_id in ids))
        return [run.succeeded for run in runs]
    return [outcome.result().succeeded for outcome in await client.wait_all(ids)]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run the program in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["one wait each", "wait_all"])
@pytest.mark.parametrize(
    ("burst", "says", "free", "took", "most"),
    [
        pytest.param(100.0, None, 0.0, 0.02, 2.5, id="burst"),
        pytest.param(10.0, "Retry-After", 0.0, 0.02, 1.8, id="Retry-After"),
        pytest.param(
            100.0, None, 3.0, 0.001, 3.6, id="after a time without a limit", marks=pytest.mark.thorough
        ),
    ],
)
@pytest.mark.parametrize("seed", [SEED])
def test_a_crowd_before_a_limited_server(
    how: str, burst: float, says: str | None, free: float, took: float, most: float, seed: int
) -> None:
    """A bucket that has filled up meanwhile takes more for a moment."""
    limited = Limited(TokenBucket(RATE, burst), free_until=free, says=says)
    server = LimitedServer(seed, limited, lasts=30.0, took=took)

    ended = run(crowd(server, seed, how))

    refusals, peak = server.report()
    assert ended == [True] * CROWD
    assert refusals < 0.05
    assert peak <= most


@pytest.mark.thorough
@pytest.mark.once
@pytest.mark.parametrize("how", ["one wait each", "wait_all"])
def test_a_limit_is_found_beside_a_bad_backend(how: str) -> None:
    server = LimitedServer(0, Limited(TokenBucket(RATE), bad=0.2), lasts=30.0)

    ended = run(crowd(server, 0, how))

    assert ended == [True] * CROWD
    assert server.limited.over_limit / server.limited.arrived < 0.1


@pytest.mark.once
@pytest.mark.parametrize("how", ["one wait each", "wait_all"])
@pytest.mark.parametrize(("bad", "factor"), [(0.05, 1.2), (0.1, 1.3), (0.2, 1.5), (0.4, 2.0)])
@pytest.mark.parametrize("runs", [150 if depth.is_thorough else 50])
def test_refusals_at_random_hardly_delay_the_last_of_a_crowd(
    how: str, bad: float, factor: float, runs: int
) -> None:
    """As against one that nobody refuses; the median of three seeds, as a run may meet ten refusals in a row."""
    times = [crowd_ends_after(n, how, runs, bad) for n in range(3)]

    assert statistics.median(times) <= factor * crowd_ends_after(0, how, runs, 0.0) + 1.0


def crowd_ends_after(seed: int, how: str, runs: int, bad: float) -> float:
    server = LimitedServer(seed, Limited(Unlimited(), bad=bad), lasts=4.0)

    async def timed() -> float:
        begun = asyncio.get_running_loop().time()
        assert await crowd(server, seed, how, runs) == [True] * runs
        return asyncio.get_running_loop().time() - begun

    return run(timed())
