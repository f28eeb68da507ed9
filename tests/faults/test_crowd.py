"""Thousands of waits before a server that takes 100 requests a second, or refuses some at random: all end soon."""

import asyncio
import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping

import orjson
import pytest
from faults import virtual_time
from faults.support import SEED
from faults.virtual_time import VirtualClock
from multidict import CIMultiDict

from lume_async import Client
from lume_async._http.transport import Body
from lume_async._wire.call import Response
from lume_async.testing import run_json

RATE = 100.0
CROWD = 5_000
ON_THE_WAY = 0.1
"""Seconds after the first refusal in which requests may arrive that were sent before it was known."""


class LimitedServer:
    """A transport: a token bucket before runs that end after a while, each answer after 10 to 30 ms."""

    def __init__(
        self, seed: int, *, burst: float, retry_after: str | None, lasts: float, bad: float = 0.0
    ) -> None:
        self.served: Counter[int] = Counter()
        """Requests that arrived after the first refusal was known, by the tenth of a second."""
        self.arrived = self.refused = self.over_limit = 0
        self.first_refusal = math.inf
        self._rng = random.Random(seed)
        self._burst, self._tokens, self._filled = burst, burst, -math.inf
        self._retry_after = retry_after
        self._begun: float | None = None
        self._lasts = lasts
        self._bad = bad

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: Body, timeout: float
    ) -> Response:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._rng.uniform(0.005, 0.015))
        now = loop.time()
        self._begun = now if self._begun is None else self._begun
        self.arrived += 1
        if now > self.first_refusal + ON_THE_WAY:
            self.served[math.floor(now * 10)] += 1
        taken = self._take(now) and self._rng.random() >= self._bad
        await asyncio.sleep(self._rng.uniform(0.005, 0.015))
        if not taken:
            self.refused += 1
            self.first_refusal = min(self.first_refusal, now)
            extra = {} if self._retry_after is None else {"Retry-After": self._retry_after}
            return Response(429, CIMultiDict(extra), b"")
        status = "SUCCEEDED" if now - self._begun >= self._lasts else "TRANSFORMING"
        return Response(200, CIMultiDict(), orjson.dumps(run_json(path.rpartition("/")[2], status)))

    async def aclose(self) -> None:
        pass

    def _take(self, now: float) -> bool:
        if now > self._filled:
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * RATE)
            self._filled = now
        if self._tokens < 1:
            self.over_limit += 1
            return False
        self._tokens -= 1
        return True

    def report(self) -> tuple[float, float]:
        """The share of refusals, and the fullest tenth of a second after the first one against what is taken in one.

        Not against the mean: whoever asks for less altogether would look the worse.
        """
        return self.refused / self.arrived, max(self.served.values()) / (RATE / 10)


async def crowd(server: LimitedServer, seed: int, how: str, runs: int = CROWD) -> list[bool]:
    client = Client("test-key", base_url="http://lume.test", proxy=False)
    client._sender = client._sender.over(server, clock=VirtualClock(), rng=random.Random(seed))
    ids = [f"run_{number}" for number in range(runs)]
    if how == "one wait each":
        runs = await asyncio.gather(*(client.attach(run_id).wait() for run_id in ids))
        return [run.succeeded for run in runs]
    return [outcome.result().succeeded for outcome in await client.wait_all(ids)]


@pytest.mark.parametrize("how", ["one wait each", "wait_all"])
@pytest.mark.parametrize(("burst", "retry_after"), [(100.0, None), (10.0, "1")])
@pytest.mark.parametrize("seed", [SEED])
def test_a_crowd_before_a_limited_server(how: str, burst: float, retry_after: str | None, seed: int) -> None:
    server = LimitedServer(seed, burst=burst, retry_after=retry_after, lasts=30.0)

    ended = virtual_time.run(crowd(server, seed, how))

    refusals, peak = server.report()
    assert ended == [True] * CROWD
    assert refusals < 0.05
    assert peak <= 1.5


@pytest.mark.once
@pytest.mark.parametrize("how", ["one wait each", "wait_all"])
def test_a_limit_is_found_beside_a_bad_backend(how: str) -> None:
    server = LimitedServer(0, burst=100.0, retry_after=None, lasts=30.0, bad=0.2)

    ended = virtual_time.run(crowd(server, 0, how))

    assert ended == [True] * CROWD
    assert server.over_limit / server.arrived < 0.05


@pytest.mark.once
@pytest.mark.parametrize("how", ["one wait each", "wait_all"])
@pytest.mark.parametrize(("bad", "factor"), [(0.05, 1.2), (0.1, 1.3), (0.2, 1.5), (0.4, 2.0)])
@pytest.mark.parametrize("runs", [50, pytest.param(1_000, marks=pytest.mark.thorough)])
def test_refusals_at_random_hardly_delay_the_last_of_a_crowd(
    how: str, bad: float, factor: float, runs: int
) -> None:
    """As against one that nobody refuses; the median of three seeds, as a run may meet ten refusals in a row."""
    times = [crowd_ends_after(n, how, runs, bad) for n in range(3)]

    assert statistics.median(times) <= factor * crowd_ends_after(0, how, runs, 0.0) + 1.0


def crowd_ends_after(seed: int, how: str, runs: int, bad: float) -> float:
    server = LimitedServer(seed, burst=math.inf, retry_after=None, lasts=4.0, bad=bad)

    async def timed() -> float:
        begun = asyncio.get_running_loop().time()
        assert await crowd(server, seed, how, runs) == [True] * runs
        return asyncio.get_running_loop().time() - begun

    return virtual_time.run(timed())
