"""Thousands of waits before a server that takes 100 requests a second: all end, few are refused, no bursts."""

import asyncio
import math
import random
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

    def __init__(self, seed: int, *, burst: float, retry_after: str | None, lasts: float) -> None:
        self.served: Counter[int] = Counter()
        """Requests that arrived after the first refusal was known, by the tenth of a second."""
        self.arrived = self.refused = 0
        self.first_refusal = math.inf
        self._rng = random.Random(seed)
        self._burst, self._tokens, self._filled = burst, burst, -math.inf
        self._retry_after = retry_after
        self._begun: float | None = None
        self._lasts = lasts

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
        taken = self._take(now)
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
            return False
        self._tokens -= 1
        return True

    def report(self) -> tuple[float, float]:
        """The share of refusals, and the fullest tenth of a second against the mean, after the first refusal."""
        mean = sum(self.served.values()) / (max(self.served) - min(self.served) + 1)
        return self.refused / self.arrived, max(self.served.values()) / mean


async def crowd(server: LimitedServer, seed: int, how: str) -> list[bool]:
    client = Client("test-key", base_url="http://lume.test", proxy=False)
    client._sender = client._sender.over(server, clock=VirtualClock(), rng=random.Random(seed))
    ids = [f"run_{number}" for number in range(CROWD)]
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
    assert peak <= 2
