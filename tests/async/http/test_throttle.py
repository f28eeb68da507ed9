"""The throttle: what pauses all requests, what limits their rate, and a crowd of runs before servers that refuse."""

import math
import statistics
from collections.abc import Callable

import pytest
from crowd import Crowd, LimitedServer, Result, Throttled

from lume_async._http.throttle import (
    EARLY,
    ENOUGH,
    FIRST_PAUSE,
    FIRST_RATE,
    KEPT,
    LONGEST_PAUSE,
    QUIET,
    ROW,
    SETTLING,
    TRIAL,
    Throttle,
)


def refused(throttle: Throttle, now: float, count: int = ROW, retry_after: float | None = None) -> None:
    for _ in range(count):
        throttle.refused(now, throttle.epoch, retry_after)


def answers(throttle: Throttle, begin: float, end: float, *, rate: int, every: int = 0) -> None:
    """So many answers a second, every so-manieth a refusal (0: none)."""
    for n in range(int((end - begin) * rate)):
        now = begin + (n + 1) / rate
        if every and n % every == every - 1:
            throttle.refused(now, throttle.epoch, None)
        else:
            throttle.succeeded(now)


def paced() -> Throttle:
    """Of 100 requests a second a third was refused, of 40 none: the rate matters."""
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=3)
    answers(throttle, 1.2, 3.2, rate=40)
    return throttle


def test_a_throttle_that_met_no_refusal_limits_nothing() -> None:
    throttle = Throttle()
    for n in range(1_000):
        throttle.take(1.0)
        throttle.succeeded(1.0 + n / 100)

    assert throttle.rate is None
    assert throttle.delay(1.0) <= 0


@pytest.mark.parametrize("retry_after", [None, 1.0, 3_600.0, 99_999_999_999.0])
def test_a_few_refusals_hold_nobody_back(retry_after: float | None) -> None:
    throttle = Throttle()
    refused(throttle, 100.0, ROW - 1, retry_after)

    assert throttle.rate is None
    assert throttle.delay(100.0) <= 0


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(None, FIRST_PAUSE), (0, 0), (0.1, 0.1), (7, 7), (3_600, 60)]
)
def test_many_in_a_row_pause_all_requests(retry_after: float | None, pause: float) -> None:
    throttle = Throttle(longest=60)
    refused(throttle, 100.0, ROW, retry_after)

    assert throttle.delay(100.0) == pytest.approx(pause)


def test_pauses_without_a_success_grow_up_to_a_limit() -> None:
    throttle, pauses, now = Throttle(longest=60), list[float](), 100.0
    for _ in range(12):
        refused(throttle, now)
        pauses.append(throttle.delay(now))
        now += pauses[-1]

    assert pauses == [0.5, 1, 2, 4, 8, 16, *[LONGEST_PAUSE] * 6]


def test_a_success_ends_the_row() -> None:
    throttle = Throttle()
    refused(throttle, 100.0, ROW - 1)
    throttle.succeeded(100.5)
    refused(throttle, 100.9, ROW - 1)

    assert throttle.rate is None


def test_one_burst_of_refusals_pauses_once() -> None:
    throttle = Throttle()
    epoch = throttle.epoch
    for _ in range(100):
        throttle.refused(100.0, epoch, None)

    assert throttle.delay(100.0) == pytest.approx(FIRST_PAUSE)
    assert throttle.epoch == epoch + 1


def test_after_a_pause_requests_come_back_gradually() -> None:
    throttle = Throttle()
    refused(throttle, 100.0, retry_after=2)
    moments, now = list[float](), 102.0
    for _ in range(5):
        now += max(0.0, throttle.delay(now))
        throttle.take(now)
        moments.append(now)

    assert moments == pytest.approx([102 + n / FIRST_RATE for n in range(5)])


def test_after_a_pause_half_of_what_was_seen_to_work_is_where_it_begins() -> None:
    throttle = Throttle()
    answers(throttle, 100.0, 102.0, rate=400)
    refused(throttle, 102.0)

    assert throttle.rate == pytest.approx(200, rel=0.05)


def test_after_a_quiet_time_nothing_is_limited() -> None:
    throttle = Throttle()
    refused(throttle, 100.0, retry_after=0)
    throttle.succeeded(100.0 + QUIET)
    limited = throttle.rate is not None
    throttle.succeeded(100.0 + QUIET + 0.1)

    assert limited
    assert throttle.rate is None


def test_more_refusals_than_expected_begin_a_trial_of_a_lower_rate() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=3)

    assert throttle.rate == pytest.approx(TRIAL * 60)  # the alarm came with the 90th answer
    assert throttle.epoch == 1


def test_what_was_sent_before_the_trial_tells_nothing_of_it() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=3)
    rate = throttle.rate
    for n in range(200):
        throttle.refused(1.2 + SETTLING + n / 1_000, 0, None)
    for n in range(ENOUGH):
        throttle.succeeded(1.2 + n / 1_000)

    assert throttle.rate == rate
    assert throttle.epoch == 1


def test_a_trial_that_helped_keeps_the_rate_near_what_the_server_takes() -> None:
    throttle = paced()

    assert throttle.rate is not None
    assert throttle.rate == pytest.approx(KEPT * 60, rel=0.05)


def test_a_trial_that_did_not_help_limits_nothing() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=3)
    answers(throttle, 1.2, 3.2, rate=47, every=3)

    assert throttle.rate is None


def test_refusals_that_no_rate_changes_are_expected_from_then_on() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=3)
    answers(throttle, 1.2, 3.2, rate=47, every=3)
    epoch = throttle.epoch
    answers(throttle, 3.2, 30.0, rate=100, every=3)

    assert throttle.rate is None
    assert throttle.epoch == epoch


def test_more_than_the_expected_refusals_begin_another_trial() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=3)
    answers(throttle, 1.2, 3.2, rate=47, every=3)
    for n in range(60):  # four of five are refused now
        now = 3.2 + n / 50
        if n % 5:
            throttle.refused(now, throttle.epoch, None)
        else:
            throttle.succeeded(now)

    assert throttle.rate is not None


def test_an_alarm_needs_no_whole_second() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 0.2, rate=1_000, every=3)
    assert EARLY < 200 / 3
    assert throttle.rate is not None


def test_the_rate_that_helped_grows_until_it_is_too_much_again() -> None:
    throttle = paced()
    before = throttle.rate
    assert before is not None
    answers(throttle, 3.5, 8.5, rate=60)
    grown = throttle.rate
    assert grown is not None
    answers(throttle, 8.5, 9.5, rate=80, every=4)

    assert grown == pytest.approx(before + 5 * 60 * 0.02)
    assert throttle.rate is not None
    assert throttle.rate < grown


def test_it_grows_more_quickly_the_longer_there_was_no_alarm() -> None:
    throttle = paced()
    gains = list[float]()
    for begin in (5.0, 25.0, 45.0):
        before = throttle.rate or math.inf
        answers(throttle, begin, begin + 1, rate=50)
        gains.append((throttle.rate or math.inf) - before)

    assert gains[0] < gains[1] < gains[2]


def test_a_few_requests_a_minute_say_nothing_of_a_limit() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 3_600.0, rate=1, every=0)
    for n in range(100):
        now = 3_600.0 + 20.0 * n
        if n % 3:
            throttle.succeeded(now)
        else:
            throttle.refused(now, throttle.epoch, None)

    assert throttle.rate is None


def test_where_many_are_refused_at_random_a_row_has_to_be_longer() -> None:
    throttle = Throttle()
    answers(throttle, 0.0, 1.2, rate=100, every=2)
    answers(throttle, 1.2, 3.2, rate=40, every=2)
    refused(throttle, 3.3, ROW + 5)
    held_back = throttle.rate is not None
    refused(throttle, 3.4, ROW)

    assert not held_back
    assert throttle.delay(3.4) == pytest.approx(FIRST_PAUSE)


def test_a_trial_is_judged_by_what_a_limit_would_have_done() -> None:
    """At 13 instead of 19 requests a second a limit of 10 still refuses a quarter, instead of a half."""
    results = [crowd(300, seed, lambda: LimitedServer(10, 10.0), lasts=10.0) for seed in SEEDS]

    assert statistics.median(result.over_limit for result in results) < 0.4
    assert max(result.last for result in results) < 1.2 * 40


# A crowd

SEEDS = range(8)


def crowd(runs: int, seed: int, server: Callable[[], LimitedServer], lasts: float = 4.0) -> Result:
    return Crowd(runs, server(), Throttled(), seed, lasts).end()


CLEAN = 7.1
"""Seconds until the end of the last of many runs of 4 seconds was seen, where nothing is refused."""


@pytest.mark.parametrize("runs", [50, 1_000])
def test_where_nothing_is_refused_nothing_is_slower(runs: int) -> None:
    assert max(crowd(runs, seed, LimitedServer).last for seed in SEEDS) == pytest.approx(CLEAN, abs=0.3)


@pytest.mark.parametrize("runs", [50, 1_000])
@pytest.mark.parametrize(("bad", "factor"), [(0.05, 1.2), (0.1, 1.3), (0.2, 1.5), (0.4, 2.0)])
def test_refusals_at_random_hardly_delay_the_last_run(runs: int, bad: float, factor: float) -> None:
    lasts = [crowd(runs, seed, lambda: LimitedServer(bad=bad)).last for seed in SEEDS]

    assert statistics.median(lasts) <= factor * CLEAN
    assert max(lasts) <= 2 * factor * CLEAN


@pytest.mark.parametrize(
    ("burst", "retry_after"),
    [pytest.param(100.0, None, id="burst"), pytest.param(10.0, 1.0, id="Retry-After")],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_limited_server_refuses_few(burst: float, retry_after: float | None, seed: int) -> None:
    result = crowd(5_000, seed, lambda: LimitedServer(100, burst, retry_after=retry_after), lasts=30.0)

    assert result.over_limit < 0.05
    assert result.last < 1.2 * 80  # what the server takes at the best


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limited_server_with_a_bad_backend_refuses_few_for_its_limit(seed: int) -> None:
    result = crowd(5_000, seed, lambda: LimitedServer(100, bad=0.2), lasts=30.0)

    assert result.over_limit < 0.05
    assert result.last < math.inf


@pytest.mark.parametrize("runs", [50, 1_000])
def test_an_outage_costs_little_more_than_its_time(runs: int) -> None:
    results = [crowd(runs, seed, lambda: LimitedServer(outage=(10.0, 40.0)), lasts=30.0) for seed in SEEDS]

    assert max(result.last for result in results) < 40 + 12
    assert max(result.sent for result in results) < 12 * runs  # it is not hammered
