"""The client-wide pace: a table of what closes it, and a simulation of a crowd before a limited server."""

import asyncio
import heapq
import itertools
import math
import random
from collections import Counter

import pytest

from lume_async._http.throttle import CLOSED, FIRST_RATE, LONGEST_CLOSED, QUIET, Gate, Pace
from lume_async.testing import FakeClock


def refused_once(retry_after: float | None = None, now: float = 100.0) -> Pace:
    pace = Pace()
    pace.refused(now, pace.epoch, retry_after)
    return pace


def test_a_pace_that_was_never_refused_is_free() -> None:
    pace = Pace()
    for _ in range(1_000):
        pace.take(1.0)
        pace.succeeded(1.0)

    assert pace.rate is None
    assert pace.delay(1.0) <= 0


@pytest.mark.parametrize(
    ("retry_after", "closed"), [(None, CLOSED), (0, 0), (0.1, 0.1), (7, 7), (3_600, 3_600)]
)
def test_a_refusal_closes_it_for_everybody(retry_after: float | None, closed: float) -> None:
    pace = refused_once(retry_after)

    assert pace.rate is not None
    assert pace.delay(100.0) == pytest.approx(closed)


def test_refusals_in_a_row_close_it_longer_up_to_a_limit() -> None:
    pace, pauses = Pace(), []
    now = 100.0
    for _ in range(12):
        pace.refused(now, pace.epoch, None)
        pauses.append(round(pace.delay(now), 6))
        now += pauses[-1]

    assert pauses == [0.5, 1, 2, 4, 8, 16, *[LONGEST_CLOSED] * 6]


def test_a_success_ends_the_row() -> None:
    pace = refused_once()
    pace.refused(101.0, pace.epoch, None)
    pace.succeeded(110.0)
    pace.refused(110.0, pace.epoch, None)

    assert pace.delay(110.0) == pytest.approx(CLOSED)


def test_one_burst_of_refusals_counts_once() -> None:
    pace = Pace()
    epoch = pace.epoch
    for _ in range(100):
        pace.refused(100.0, epoch, None)

    assert pace.delay(100.0) == pytest.approx(CLOSED)
    assert pace.epoch == epoch + 1


def test_a_late_refusal_of_the_same_burst_may_ask_for_more_time() -> None:
    pace = Pace()
    epoch = pace.epoch
    pace.refused(100.0, epoch, 1)
    pace.refused(100.0, epoch, 9)
    pace.refused(100.0, epoch, 3)

    assert pace.delay(100.0) == 9


def test_it_reopens_gradually() -> None:
    pace = refused_once(retry_after=2)
    moments, now = [], 102.0
    for _ in range(5):
        now += max(0.0, pace.delay(now))
        pace.take(now)
        moments.append(now)

    assert moments == pytest.approx([102 + n / FIRST_RATE for n in range(5)])


def test_success_makes_it_quicker() -> None:
    pace = refused_once(retry_after=0)
    before = pace.delay(100.0)
    pace.take(100.0)
    slow = pace.delay(100.0)
    for _ in range(200):
        pace.succeeded(101.0)
    pace.take(101.0)

    assert before <= 0
    assert pace.delay(101.0) < slow / 2


def test_after_a_quiet_time_it_is_free_again() -> None:
    pace = refused_once(retry_after=0)
    pace.succeeded(100.0 + QUIET)
    held = pace.rate is not None
    pace.succeeded(100.0 + QUIET + 0.1)

    assert held
    assert pace.rate is None


def test_what_was_seen_to_work_is_where_it_starts() -> None:
    pace = Pace()
    for _ in range(400):
        pace.succeeded(100.5)
    pace.refused(100.9, pace.epoch, 0)
    pace.take(101.0)

    assert pace.delay(101.0) == pytest.approx(1 / 200)


class Bucket:
    """A server that takes 100 requests a second, and as many more at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.tokens, self.at = rate, 0.0

    def takes(self, now: float) -> bool:
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@pytest.mark.parametrize("seed", range(5))
def test_a_crowd_before_a_limited_server(seed: int) -> None:
    """5,000 requests that all want to go at once, 100 a second allowed, answers after about 20 ms."""
    rng, pace, server = random.Random(seed), Pace(), Bucket(100)
    waiting, sent, refused, served = 5_000, 0, 0, Counter[int]()
    answers: list[tuple[float, int, bool, int]] = []
    now, order = 0.0, itertools.count()
    while waiting or answers:
        ready = waiting and len(answers) < 100
        next_send = now + max(0.0, pace.delay(now)) if ready else math.inf
        if answers and answers[0][0] <= next_send:
            now, _, taken, epoch = heapq.heappop(answers)
            if taken:
                pace.succeeded(now)
                served[math.floor(now)] += 1
            else:
                pace.refused(now, epoch, None)
                refused += 1
                waiting += 1
            continue
        now = next_send
        pace.take(now)
        waiting -= 1
        sent += 1
        later = now + rng.uniform(0.01, 0.03)
        heapq.heappush(answers, (later, next(order), server.takes(now), pace.epoch))

    assert refused / sent < 0.05
    assert sum(served.values()) / now > 0.7 * 100
    assert max(served.values()) <= 2 * 100 + 1


async def test_a_free_gate_never_waits() -> None:
    clock = FakeClock()
    gate = Gate(clock)

    assert [await gate.enter() for _ in range(5)] == [0] * 5
    assert clock.sleeps == []


async def test_a_closed_gate_lets_them_through_in_the_order_in_which_they_came() -> None:
    clock = FakeClock()
    gate, passed = Gate(clock), []
    gate.pace.refused(clock.now(), 0, 3)

    async def pass_through(name: int) -> None:
        await gate.enter()
        passed.append((name, round(clock.now() - 1_000, 3)))

    await asyncio.gather(*(pass_through(n) for n in range(4)))

    assert passed == [(0, 3.0), (1, 3.1), (2, 3.2), (3, 3.3)]


async def test_who_is_cancelled_takes_no_slot_along() -> None:
    clock = FakeClock()
    gate = Gate(clock)
    gate.pace.refused(clock.now(), 0, 3)
    first, second = asyncio.ensure_future(gate.enter()), asyncio.ensure_future(gate.enter())
    await asyncio.sleep(0)
    first.cancel()

    assert await second == 1
    assert clock.now() - 1_000 == pytest.approx(3.0)


async def test_a_gate_that_closes_again_while_somebody_waits_keeps_them() -> None:
    clock = FakeClock()
    gate = Gate(clock)
    gate.pace.refused(clock.now(), 0, 3)
    waiter = asyncio.ensure_future(gate.enter())
    await asyncio.sleep(0)
    gate.pace.refused(clock.now(), 1, 10)

    assert await waiter == 2
    assert clock.now() - 1_000 == pytest.approx(10.0)
