"""A simulated crowd: many runs are polled until their end, before a server that refuses some of the requests.

Virtual time and no event loop: minutes of thousands of runs take a second, and a seed always gives the same.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from limits import LimitedServer

from lume_async._base.backoff import POLLING, after_failure
from lume_async._http.throttle import LONGEST_PAUSE, PROBES, QUIET, QUOTA_LASTS, ROW, SECOND, Throttle
from lume_async._wire.answers import refusal_in, retry_after

CONNECTIONS = 100
HORIZON = 600.0
"""Seconds after which a crowd that has not ended by then never does."""

SENDING = 0.0004
"""Seconds of processor time that a request takes the client: what limits it where answers come at once."""


SEARCH = 3
"""Refusals until a rate between 1 and 2,500 a second is known within 10 %: six questions that halve what is possible,
and half of them are refused."""


class Policy(Protocol):
    """What decides when a request may be sent."""

    concurrency: float
    """How many requests may be under way."""

    @property
    def is_certain(self) -> bool:
        """Whether it knows what the server takes: its requests arrive at once."""
        ...

    @property
    def epoch(self) -> int:
        """What an answer is assigned to."""
        ...

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        ...

    def admits(self, now: float, chance: float) -> bool:
        """Whether a request is sent at all, rather than refused by the policy itself."""
        ...

    def take(self, now: float) -> None:
        """A request is sent."""
        ...

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        """What came of it, after so many seconds."""
        ...


class Unlimited:
    """No throttle: only each request's own back-off."""

    is_certain = False

    def __init__(self) -> None:
        self.epoch = 0
        self.concurrency: float = math.inf

    def delay(self, now: float) -> float:
        return 0.0

    def admits(self, now: float, chance: float) -> bool:
        return True

    def take(self, now: float) -> None:
        pass

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
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

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        if refused:
            self.throttle.refused(now, epoch, refusal_in(headers))
        else:
            self.throttle.succeeded(now, epoch)


class AllKnowing(Unlimited):
    """Sends when the server takes it, and never otherwise: what a throttle could reach at the best."""

    is_certain = True

    def __init__(self, server: LimitedServer) -> None:
        super().__init__()
        self._server = server

    def delay(self, now: float) -> float:
        return 0.0 if self._server.is_free(now) else max(0.001, self._server.opens_in(now))


class Ideal(AllKnowing):
    """Knows the limit as soon as any client may, and keeps the promises: the fewest refusals.

    It is refused as every client is that promises this to all servers, as it can't know which one it meets:
    one that refuses nothing, or nine in a row by chance, is not slowed down; a limit that rises or ends is noticed
    within `QUIET` seconds (or when a named quota lapses), the end of an outage within `PROBES` times the root of its
    seconds; and a rate is not known before it was exceeded once.
    """

    def __init__(self, server: LimitedServer) -> None:
        super().__init__(server)
        self._told = server.says == "RateLimit"
        self._refused = 0
        self._questions = 0 if self._told else SEARCH
        self._asked = 0.0
        self._sent = self._taken = self._said = 0.0

    @property
    def is_certain(self) -> bool:
        return self._refused >= (1 if self._told else ROW)

    def delay(self, now: float) -> float:
        if not self.is_certain:
            return 0.0
        wait = super().delay(now)
        asks = now if self._questions else self._asked + (QUOTA_LASTS if self._told else QUIET)
        if now - self._taken > SECOND:  # as in an outage
            asks = min(asks, max(self._said, self._sent + PROBES * math.sqrt(now - self._taken)))
        return max(0.0, min(wait, asks - now))

    def take(self, now: float) -> None:
        self._sent = now
        if self.is_certain and not self._server.is_free(now):
            self._asked, self._questions = now, max(0, self._questions - 1)

    def answered(
        self, now: float, epoch: int, refused: bool, took: float, headers: Mapping[str, str]
    ) -> None:
        self._refused += refused
        if refused:
            self._said = now + min(LONGEST_PAUSE, refusal_in(headers).wait or 0.0)
        else:
            self._taken = now


@dataclass
class Result:
    """What came of a crowd.

    Attributes:
        last: when the last run was seen to end, infinite if not by the horizon.
        refused, over_limit: the share of requests that was refused, and that the limit refused.
        sent: requests that arrived, those in the outage among them.
        taken: requests that were taken, per client.
    """

    last: float
    refused: float
    over_limit: float
    sent: int
    in_outage: int
    taken: list[int]

    @property
    def refusals(self) -> int:
        """How many requests were refused."""
        return round(self.refused * self.sent)


@dataclass
class Client:
    """One process: what it has to send, and when it may."""

    policy: Policy
    ready: deque[int]
    under_way: int = 0
    taken: int = 0
    woken_at: float = math.inf
    busy_until: float = 0.0


Details = tuple[float, int, float | None]
"""When a request was sent, in which epoch, and for how long the server works on it (None: refused)."""


@dataclass
class Crowd:
    """`runs` runs that each last a while, polled as a monitor polls them.

    Attributes:
        took: seconds until an answer, half as much more or less.
        quick: whether a failed poll is repeated soon; else it costs a whole interval.
        clients: processes that share the runs, and the server's limit.
    """

    runs: int
    server: LimitedServer
    policy: Callable[[], Policy]
    seed: int
    lasts: float = 4.0
    took: float = 0.02
    quick: bool = True
    clients: int = 1
    now: float = 0.0
    _events: list[tuple[float, int, str, int, Details]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng, self._order = random.Random(self.seed), itertools.count()
        self._clients = [
            Client(self.policy(), deque(range(n, self.runs, self.clients))) for n in range(self.clients)
        ]
        self._polls, self._failures = [0] * self.runs, [0] * self.runs
        self._ended = 0

    def end(self) -> Result:
        """Let it run to its end."""
        while self._ended < self.runs and self.now < HORIZON:
            for number, client in enumerate(self._clients):
                self._send(client, number)
            self.now, _, event, run, details = heapq.heappop(self._events)
            getattr(self, event)(run, details)
        server = self.server
        return Result(
            self.now if self._ended == self.runs else math.inf,
            server.refused / server.arrived,
            server.over_limit / server.arrived,
            server.arrived,
            server.in_outage,
            [client.taken for client in self._clients],
        )

    def _client(self, run: int) -> Client:
        return self._clients[run % self.clients]

    def _send(self, client: Client, number: int) -> None:
        policy = client.policy
        while client.ready and client.under_way < min(CONNECTIONS, policy.concurrency):
            delay = max(policy.delay(self.now), client.busy_until - self.now)
            if delay > 1e-9:  # a smaller one may change no time at all
                if not self.now < client.woken_at <= self.now + delay:
                    client.woken_at = self.now + delay
                    self._after(delay, "_wake", number)
                return
            run = client.ready.popleft()
            client.busy_until = self.now + SENDING
            if policy.admits(self.now, self._rng.random()):
                policy.take(self.now)
                client.under_way += 1
                details = self.now, policy.epoch, None
                if policy.is_certain:
                    self._arrive(run, details)  # so that the next one sees that it was taken
                else:
                    self._after(self._way(), "_arrive", run, details)
            else:
                self._failed(run, {})

    def _way(self) -> float:
        return self.took * self._rng.uniform(0.25, 0.75)

    def _after(self, delay: float, event: str, run: int = 0, details: Details = (0.0, 0, None)) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), event, run, details))

    def _wake(self, number: int, details: Details) -> None:
        client = self._clients[number]
        if self.now >= client.woken_at:  # else this one was overtaken by an earlier one
            client.woken_at = math.inf

    def _poll(self, run: int, details: Details) -> None:
        self._client(run).ready.append(run)

    def _arrive(self, run: int, details: Details) -> None:
        sent, epoch, _ = details
        work = self.server.take(self.now, self._rng.random())
        done = work is not None and self.now >= self.lasts
        self._after((work or 0.0) + self._way(), "_done" if done else "_answer", run, (sent, epoch, work))

    def _done(self, run: int, details: Details) -> None:
        self._learn(run, details, {})
        self._ended += 1

    def _answer(self, run: int, details: Details) -> None:
        headers = self.server.headers(self.now) if details[2] is None else {}
        self._learn(run, details, headers)
        if details[2] is None:
            self._failed(run, headers)
            return
        self._polls[run] += 1
        self._failures[run] = 0
        self._after(POLLING.delay(self._polls[run] - 1, self._rng), "_poll", run)

    def _learn(self, run: int, details: Details, headers: Mapping[str, str]) -> None:
        sent, epoch, work = details
        client = self._client(run)
        client.under_way -= 1
        client.taken += work is not None
        client.policy.answered(self.now, epoch, work is None, self.now - sent, headers)

    def _failed(self, run: int, headers: Mapping[str, str]) -> None:
        self._failures[run] += 1
        delay = POLLING.delay(self._polls[run], self._rng)
        if self.quick:
            delay = after_failure(delay, self._failures[run], self._rng)
        else:
            self._polls[run] += 1
        self._after(max(retry_after(headers) or 0.0, delay), "_poll", run)
