"""A simulated crowd: many runs are polled until their end, before a server that refuses some of the requests.

Virtual time and no event loop: minutes of thousands of runs take a second, and a seed always gives the same.
"""

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from lume_async._base.backoff import POLLING, after_failure
from lume_async._http.throttle import Throttle

CONNECTIONS = 100
HORIZON = 600.0
"""Seconds after which a crowd that has not ended by then never does."""


class Policy(Protocol):
    """What decides when a request may be sent."""

    epoch: int
    concurrency: float
    """How many requests may be under way."""

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        ...

    def admits(self, now: float, chance: float) -> bool:
        """Whether a request is sent at all, rather than refused by the policy itself."""
        ...

    def take(self, now: float) -> None:
        """A request is sent."""
        ...

    def answered(self, now: float, epoch: int, refused: bool, took: float, retry_after: float | None) -> None:
        """What came of it, after so many seconds."""
        ...


class Unlimited:
    """No throttle: only each request's own back-off."""

    def __init__(self) -> None:
        self.epoch = 0
        self.concurrency: float = math.inf

    def delay(self, now: float) -> float:
        return 0.0

    def admits(self, now: float, chance: float) -> bool:
        return True

    def take(self, now: float) -> None:
        pass

    def answered(self, now: float, epoch: int, refused: bool, took: float, retry_after: float | None) -> None:
        pass


class Throttled(Unlimited):
    """The library's own."""

    def __init__(self) -> None:
        self.throttle = Throttle()
        super().__init__()

    @property
    def epoch(self) -> int:
        return self.throttle.epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        pass

    def delay(self, now: float) -> float:
        return self.throttle.delay(now)

    def take(self, now: float) -> None:
        self.throttle.take(now)

    def answered(self, now: float, epoch: int, refused: bool, took: float, retry_after: float | None) -> None:
        if refused:
            self.throttle.refused(now, epoch, retry_after)
        else:
            self.throttle.succeeded(now)


@dataclass
class LimitedServer:
    """Takes `limit` requests a second, of those refuses the share `bad` at random, and all during its outage."""

    limit: float = math.inf
    burst: float = 100.0
    bad: float = 0.0
    outage: tuple[float, float] = (math.inf, math.inf)
    retry_after: float | None = None
    arrived: int = 0
    over_limit: int = 0
    _tokens: float = math.inf
    _at: float = 0.0

    def takes(self, now: float, chance: float) -> bool:
        self.arrived += 1
        self._tokens = min(self.burst, self._tokens + (now - self._at) * min(self.limit, 1e9))
        self._at = now
        if self.limit < math.inf and self._tokens < 1:
            self.over_limit += 1
            return False
        self._tokens -= 1
        return not (self.outage[0] <= now < self.outage[1] or chance < self.bad)


@dataclass
class Result:
    """When the last run was seen to end (infinite: not by the horizon), and the share that the limit refused."""

    last: float
    over_limit: float
    sent: int


@dataclass
class Crowd:
    """`runs` runs that each last a while, polled as a monitor polls them."""

    runs: int
    server: LimitedServer
    policy: Policy
    seed: int
    lasts: float = 4.0
    quick: bool = True
    """Whether a failed poll is repeated soon; else it costs a whole interval."""
    now: float = 0.0
    _events: list[tuple[float, int, str, int, tuple[float, int, bool]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng, self._order = random.Random(self.seed), itertools.count()
        self._ready = deque(range(self.runs))
        self._polls, self._failures = [0] * self.runs, [0] * self.runs
        self._under_way = self._ended = 0
        self._woken_at = math.inf

    def end(self) -> Result:
        """Let it run to its end."""
        while self._ended < self.runs and self.now < HORIZON:
            self._send()
            self.now, _, event, run, details = heapq.heappop(self._events)
            getattr(self, event)(run, details)
        server = self.server
        last = self.now if self._ended == self.runs else math.inf
        return Result(last, server.over_limit / server.arrived, server.arrived)

    def _send(self) -> None:
        policy = self.policy
        while self._ready and self._under_way < min(CONNECTIONS, policy.concurrency):
            delay = policy.delay(self.now)
            if delay > 0:
                if not self.now < self._woken_at <= self.now + delay:
                    self._woken_at = self.now + delay
                    self._after(delay, "_wake")
                return
            run = self._ready.popleft()
            if policy.admits(self.now, self._rng.random()):
                policy.take(self.now)
                self._under_way += 1
                self._after(self._rng.uniform(0.005, 0.015), "_arrive", run, (self.now, policy.epoch, True))
            else:
                self._failed(run, None)

    def _after(
        self, delay: float, event: str, run: int = 0, details: tuple[float, int, bool] = (0.0, 0, True)
    ) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), event, run, details))

    def _wake(self, run: int, details: tuple[float, int, bool]) -> None:
        self._woken_at = math.inf

    def _poll(self, run: int, details: tuple[float, int, bool]) -> None:
        self._ready.append(run)

    def _arrive(self, run: int, details: tuple[float, int, bool]) -> None:
        sent, epoch, _ = details
        taken = self.server.takes(self.now, self._rng.random())
        done = taken and self.now >= self.lasts
        event = "_done" if done else "_answer"
        self._after(self._rng.uniform(0.005, 0.015), event, run, (sent, epoch, taken))

    def _done(self, run: int, details: tuple[float, int, bool]) -> None:
        self._learn(details)
        self._ended += 1

    def _answer(self, run: int, details: tuple[float, int, bool]) -> None:
        self._learn(details)
        if not details[2]:
            self._failed(run, self.server.retry_after)
            return
        self._polls[run] += 1
        self._failures[run] = 0
        self._after(POLLING.delay(self._polls[run] - 1, self._rng), "_poll", run)

    def _learn(self, details: tuple[float, int, bool]) -> None:
        sent, epoch, taken = details
        retry_after = None if taken else self.server.retry_after
        self._under_way -= 1
        self.policy.answered(self.now, epoch, not taken, self.now - sent, retry_after)

    def _failed(self, run: int, retry_after: float | None) -> None:
        self._failures[run] += 1
        delay = POLLING.delay(self._polls[run], self._rng)
        if self.quick:
            delay = after_failure(delay, self._failures[run], self._rng)
        else:
            self._polls[run] += 1
        self._after(max(retry_after or 0.0, delay), "_poll", run)
