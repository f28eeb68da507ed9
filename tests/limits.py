"""The limits of real servers, without the servers: each says whether a request that arrives now is taken. Pure.

A token bucket (most gateways), nginx's `limit_req` that delays, windows that count what they refuse too (haproxy's
stick-tables) or don't (Redis counters), and `limit_conn`, which limits no rate at all.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol


class Limit(Protocol):
    """What refuses."""

    def is_free(self, now: float) -> bool:
        """Whether a request that arrives now is taken; times never go back."""
        ...

    def arrived(self, now: float, taken: bool) -> float:
        """A request arrived. For how many seconds it is worked on, or waits, if it was taken."""
        ...

    def opens_in(self, now: float) -> float:
        """Seconds until another is taken, if none arrives until then."""
        ...

    @property
    def quota(self) -> tuple[int, int]:
        """So many requests in so many seconds."""
        ...


@dataclass
class TokenBucket:
    """`rate` requests a second, and `burst` at once after a quiet time; a refused one costs nothing."""

    rate: float
    burst: float = 100.0
    _tokens: float = math.inf
    _filled: float = 0.0

    def is_free(self, now: float) -> bool:
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._filled) * self.rate)
        self._filled = max(now, self._filled)
        return self._tokens >= 1

    def arrived(self, now: float, taken: bool) -> float:
        self._tokens -= taken
        return 0.0

    def opens_in(self, now: float) -> float:
        return max(0.0, 1 - self._tokens) / self.rate

    @property
    def quota(self) -> tuple[int, int]:
        return int(self.rate), 1


class ChangingRate(TokenBucket):
    """A token bucket whose rate is another one every so many seconds."""

    def __init__(self, *rates: float, every: float = 10.0) -> None:
        super().__init__(rates[0], burst=10.0)
        self._rates, self._every = rates, every

    def is_free(self, now: float) -> bool:
        self.rate = self._rates[int(now / self._every) % len(self._rates)]
        return super().is_free(now)


class LeakyQueue(TokenBucket):
    """nginx' `limit_req` without `nodelay`: a burst isn't answered at once, it waits for its turn."""

    def arrived(self, now: float, taken: bool) -> float:
        super().arrived(now, taken)
        return (self.burst - self._tokens - 1) / self.rate


@dataclass
class FixedWindow:
    """`most` requests a window, which begins every `length` seconds for everybody."""

    most: int
    length: float = 1.0
    counts_refused: bool = False
    _window: int = -1
    _count: int = 0

    def is_free(self, now: float) -> bool:
        window = int(now / self.length)
        if window != self._window:
            self._window, self._count = window, 0
        return self._count < self.most

    def arrived(self, now: float, taken: bool) -> float:
        self._count += taken or self.counts_refused
        return 0.0

    def opens_in(self, now: float) -> float:
        return 0.0 if self._count < self.most else (self._window + 1) * self.length - now

    @property
    def quota(self) -> tuple[int, int]:
        return self.most, int(self.length)


@dataclass
class SlidingWindow:
    """`most` requests in any `length` seconds; haproxy's counters count those that it refuses, too."""

    most: int
    length: float = 1.0
    counts_refused: bool = True
    _times: deque[float] = field(default_factory=deque)

    def is_free(self, now: float) -> bool:
        while self._times and self._times[0] <= now - self.length:
            self._times.popleft()
        return len(self._times) < self.most

    def arrived(self, now: float, taken: bool) -> float:
        if taken or self.counts_refused:
            self._times.append(now)
        return 0.0

    def opens_in(self, now: float) -> float:
        return 0.0 if len(self._times) < self.most else self._times[-self.most] + self.length - now

    @property
    def quota(self) -> tuple[int, int]:
        return self.most, int(self.length)


@dataclass
class Concurrency:
    """`places` requests at a time, each of which takes `work` seconds."""

    places: int
    work: float
    _ends: list[float] = field(default_factory=list)

    def is_free(self, now: float) -> bool:
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends) < self.places

    def arrived(self, now: float, taken: bool) -> float:
        if taken:
            heapq.heappush(self._ends, now + self.work)
        return self.work

    def opens_in(self, now: float) -> float:
        return 0.0 if len(self._ends) < self.places else self._ends[0] - now

    @property
    def quota(self) -> tuple[int, int]:
        return int(self.places / self.work), 1


class Unlimited:
    """Takes everything."""

    quota = (1, 1)

    def is_free(self, now: float) -> bool:
        return True

    def arrived(self, now: float, taken: bool) -> float:
        return 0.0

    def opens_in(self, now: float) -> float:
        return 0.0


@dataclass
class LimitedServer:
    """A limit with what comes on top of it: refusals at random, an outage, a time in which nothing is limited.

    Attributes:
        bad: the share of requests that is refused at random.
        outage: from when until when all are refused.
        free_until: the limit begins then.
        says: the header that a refusal has: none, "Retry-After" or "RateLimit".
        back_after: seconds from the end of the outage until a request was taken.
    """

    limit: Limit = field(default_factory=Unlimited)
    bad: float = 0.0
    outage: tuple[float, float] = (math.inf, math.inf)
    free_until: float = 0.0
    says: str | None = None
    arrived: int = 0
    refused: int = 0
    over_limit: int = 0
    in_outage: int = 0
    back_after: float = math.inf

    def is_free(self, now: float) -> bool:
        """Whether the limit and the outage let a request through that arrives now."""
        if self.outage[0] <= now < self.outage[1]:
            return False
        return now < self.free_until or self.limit.is_free(now)

    def opens_in(self, now: float) -> float:
        """Seconds until another request is taken, if none arrives until then."""
        start, end = self.outage
        return end - now if start <= now < end else self.limit.opens_in(now)

    def take(self, now: float, chance: float) -> float | None:
        """For how many seconds the request that arrives now is worked on; None: it is refused."""
        self.arrived += 1
        free, out = self.is_free(now), self.outage[0] <= now < self.outage[1]
        self.in_outage += out
        self.over_limit += not free and not out
        work = 0.0 if out or now < self.free_until else self.limit.arrived(now, free)
        if free and chance >= self.bad:
            if now >= self.outage[1]:
                self.back_after = min(self.back_after, now - self.outage[1])
            return work
        self.refused += 1
        return None

    def headers(self, now: float) -> dict[str, str]:
        """Those of a refusal."""
        wait = math.ceil(self.limit.opens_in(now))
        if self.says == "Retry-After":
            return {"Retry-After": str(max(1, wait))}
        if self.says == "RateLimit":
            most, length = self.limit.quota
            return {"RateLimit-Policy": f'"rate";q={most};w={length}', "RateLimit": f'"rate";r=0;t={wait}'}
        return {}
