"""The throttle: what pauses all requests, what limits their rate, and a crowd of runs before servers that refuse."""

import functools
import itertools
import statistics
from collections.abc import Callable

import pytest
from crowd import AllKnowing, Crowd, Ideal, Result, Throttled, Unlimited
from limits import (
    ChangingRate,
    Concurrency,
    FixedWindow,
    LeakyQueue,
    LimitedServer,
    SlidingWindow,
    TokenBucket,
)

from lume_async._http.throttle import (
    DEPTH,
    ENOUGH,
    FIRST_DEPTH,
    FIRST_RATE,
    LONG,
    PROBES,
    QUICK,
    QUIET,
    QUOTA_LASTS,
    ROW,
    SECOND,
    SLOWEST,
    Throttle,
)
from lume_async._wire.answers import Refusal

UNSAID = Refusal()


def refused(throttle: Throttle, now: float, count: int = ROW, refusal: Refusal = UNSAID) -> None:
    for _ in range(count):
        throttle.refused(now, throttle.epoch, refusal)


def answers(
    throttle: Throttle, begin: float, end: float, *, rate: int, every: int = 0, refusal: Refusal = UNSAID
) -> None:
    """So many answers a second, every so-manieth a refusal (0: none)."""
    for n in range(int((end - begin) * rate)):
        now = begin + (n + 1) / rate
        if every and n % every == every - 1:
            throttle.refused(now, throttle.epoch, refusal)
        else:
            throttle.succeeded(now, throttle.epoch)


def alarmed(*, rate: int = 100, refusal: Refusal = UNSAID) -> Throttle:
    """A third is refused, until a trial begins: 10 refusals, the 30 answers after the first of them."""
    throttle = Throttle()
    answers(throttle, 0.0, 33 / rate, rate=rate, every=3, refusal=refusal)
    return throttle


def limited() -> Throttle:
    """Of 100 requests a second a third was refused, of 60 none: the rate matters."""
    throttle = alarmed()
    answers(throttle, 1.0, 1.0 + ENOUGH / 60, rate=60)
    return throttle


def twice_limited() -> Throttle:
    """And then, of what it had grown to, half was refused; a little less was taken, and is near what is right."""
    throttle = limited()
    answers(throttle, 1.6, 2.1, rate=60)
    answers(throttle, 2.1, 2.1 + 8 / 80, rate=80, every=2)
    answers(throttle, 2.3, 2.3 + ENOUGH / 60, rate=60)
    return throttle


def test_a_throttle_that_met_no_refusal_limits_nothing() -> None:
    throttle = Throttle()
    for n in range(1_000):
        throttle.take(1.0)
        throttle.succeeded(1.0 + n / 100, 0)

    assert throttle.rate is None
    assert throttle.delay(1.0) <= 0


@pytest.mark.parametrize("wait", [None, 1.0, 3_600.0, 99_999_999_999.0])
def test_a_few_refusals_hold_nobody_back(wait: float | None) -> None:
    throttle = Throttle()
    refused(throttle, 100.0, ROW - 1, Refusal(wait))

    assert throttle.rate is None
    assert throttle.delay(100.0) <= 0


@pytest.mark.parametrize(("wait", "pause"), [(0.1, 0.1), (7, 7), (3_600, 60)])
def test_many_in_a_row_pause_all_requests_as_the_server_asks(wait: float, pause: float) -> None:
    throttle = Throttle(longest=60)
    refused(throttle, 100.0, ROW, Refusal(wait))

    assert throttle.delay(100.0) == pytest.approx(pause)


def test_while_nothing_is_taken_few_are_sent() -> None:
    """The pauses grow as the root of the time for which it lasts."""
    throttle, now, sent = Throttle(longest=60), 100.0, list[float]()
    refused(throttle, now)
    while now < 100 + 600:
        now += max(1e-6, throttle.delay(now))
        throttle.take(now)
        throttle.refused(now, throttle.epoch, Refusal())
        sent.append(now - 100)

    assert sum(moment < 30 for moment in sent) <= 28
    assert sum(moment < 600 for moment in sent) <= 105
    late = [(b - a) / a**0.5 for a, b in itertools.pairwise(sent) if a > 20]
    assert late == pytest.approx([PROBES] * len(late))


def test_a_success_ends_the_row() -> None:
    throttle = Throttle()
    refused(throttle, 100.0, ROW - 1)
    throttle.succeeded(100.5, 0)
    refused(throttle, 100.9, ROW - 1)

    assert throttle.delay(100.9) < PROBES


def test_one_burst_of_refusals_slows_down_once() -> None:
    throttle = Throttle()
    for _ in range(100):
        throttle.refused(100.0, 0, Refusal())

    assert throttle.epoch == 1


def test_after_an_outage_requests_come_back_quickly_but_not_at_once() -> None:
    throttle, now, rates = Throttle(), 132.5, list[float]()
    for n in range(60):
        throttle.refused(100.0 + n / 2, throttle.epoch, Refusal())
    while now < 133.5 and throttle.rate is not None:
        now += max(0.0, throttle.delay(now))
        throttle.take(now)
        throttle.succeeded(now, throttle.epoch)
        rates.append(throttle.rate)

    assert rates[:3] == pytest.approx([FIRST_RATE + n * QUICK for n in (1, 2, 3)])
    assert 30 < rates[-1] < 100


def test_while_nothing_is_taken_an_unanswered_request_is_followed_by_few() -> None:
    throttle = Throttle()
    refused(throttle, 100.0)
    throttle.take(100.0)

    assert throttle.delay(100.0) == pytest.approx(1 / SLOWEST)


def test_a_request_that_the_server_holds_keeps_the_others_back_for_a_few_seconds() -> None:
    """A long poll is answered after half a minute; that it is not refused at once is enough."""
    throttle, now, sent = Throttle(), 100.0, list[float]()
    refused(throttle, now)
    while now < 110 and len(sent) < 50:
        now += max(1e-6, throttle.delay(now))
        throttle.take(now)
        sent.append(now - 100)

    assert sum(moment < LONG for moment in sent) <= 5
    assert sent[-1] < LONG + 5


def test_after_a_quiet_time_nothing_is_limited() -> None:
    throttle = limited()
    throttle.succeeded(1.0 + QUIET, throttle.epoch)
    still = throttle.rate is not None
    throttle.succeeded(1.1 + QUIET, throttle.epoch)

    assert still
    assert throttle.rate is None


@pytest.mark.parametrize("rate", [100, 1_000])
def test_more_refusals_than_expected_begin_a_trial_of_a_far_lower_rate(rate: int) -> None:
    throttle = alarmed(rate=rate)

    assert throttle.rate == pytest.approx(FIRST_DEPTH * DEPTH * 0.66 * rate, rel=0.1)
    assert throttle.epoch == 1


def test_a_trial_begins_with_one_request() -> None:
    """The others follow when it was taken; until then a refusal only prolongs the pause."""
    throttle = alarmed()
    refused(throttle, 0.5, 3)
    throttle.take(0.8)
    waits = throttle.delay(0.8)
    throttle.succeeded(0.9, throttle.epoch)

    assert throttle.epoch == 1
    assert waits == pytest.approx(1 / SLOWEST)
    assert throttle.rate is not None
    assert throttle.delay(0.9) == pytest.approx(1 / throttle.rate)


def test_what_was_too_much_of_a_second_is_waited_for() -> None:
    throttle = limited()
    answers(throttle, 2.0, 4.0, rate=60)
    answers(throttle, 4.0, 4.11, rate=80, every=2)

    assert throttle.delay(4.1) == pytest.approx(SECOND / 2)


def test_what_was_sent_before_the_trial_tells_nothing_of_it() -> None:
    throttle = alarmed()
    rate = throttle.rate
    for n in range(200):
        throttle.refused(1.0 + n / 1_000, 0, Refusal())
    for n in range(ENOUGH):
        throttle.succeeded(1.0 + n / 1_000, 0)

    assert throttle.rate == rate
    assert throttle.epoch == 1


def test_a_trial_that_did_not_help_limits_nothing_and_its_refusals_are_expected_from_then_on() -> None:
    throttle = alarmed()
    answers(throttle, 1.0, 3.0, rate=60, every=3)
    undone, epoch = throttle.rate, throttle.epoch
    answers(throttle, 3.2, 30.0, rate=100, every=3)

    assert undone is None
    assert throttle.rate is None
    assert throttle.epoch == epoch


def test_more_than_the_expected_refusals_begin_another_trial() -> None:
    throttle = alarmed()
    answers(throttle, 1.0, 3.0, rate=60, every=3)
    for n in range(100):  # four of five are refused now
        now = 3.2 + n / 50
        if n % 5:
            throttle.refused(now, throttle.epoch, Refusal())
        else:
            throttle.succeeded(now, throttle.epoch)

    assert throttle.rate is not None


def test_the_rate_that_helped_grows_until_it_is_too_much_again() -> None:
    throttle = limited()
    answers(throttle, 2.0, 4.0, rate=60)
    grown, epoch = throttle.rate, throttle.epoch
    answers(throttle, 4.0, 4.2, rate=80, every=2)

    assert throttle.epoch > epoch
    assert grown is not None
    assert throttle.rate is not None
    assert 30 < throttle.rate <= DEPTH * grown


def grown(throttle: Throttle) -> float:
    """The rate after five seconds without a refusal."""
    answers(throttle, 3.0, 8.0, rate=60)
    assert throttle.rate is not None
    return throttle.rate


def test_when_the_rate_has_grown_one_refusal_is_enough() -> None:
    throttle = twice_limited()
    before = grown(throttle)
    refused(throttle, 8.0, 1)

    assert throttle.rate is not None
    assert 30 < throttle.rate <= DEPTH * before


def test_one_refusal_is_not_enough_if_there_was_another_since_the_last_change() -> None:
    throttle = twice_limited()
    refused(throttle, 2.8, 1)
    answers(throttle, 2.9, 3.8, rate=60)
    refused(throttle, 3.8, 1)
    answers(throttle, 3.8, 9.0, rate=60)
    before = throttle.rate
    refused(throttle, 9.0, 1)

    assert throttle.rate == before


def test_a_second_step_back_needs_a_longer_time_without_refusals() -> None:
    throttle = twice_limited()
    grown(throttle)
    refused(throttle, 8.0, 1)
    answers(throttle, 8.5, 10.5, rate=60)
    before, epoch = throttle.rate, throttle.epoch
    refused(throttle, 10.5, 1)

    assert throttle.rate == before
    assert throttle.epoch == epoch


@pytest.mark.parametrize(("taken", "alarms"), [(1, True), (3, False)])
def test_more_refusals_than_can_be_random_need_fewer_answers(taken: int, alarms: bool) -> None:
    """The first refusal only begins the count: of the next twelve 11 or 9 are refused."""
    throttle = Throttle()
    refused(throttle, 1.0, 1)
    for n in range(12):
        if n % 4 == 0 and n < 4 * taken:
            throttle.succeeded(1.0 + n / 1_000, 0)
        else:
            throttle.refused(1.0 + n / 1_000, 0, UNSAID)

    assert (throttle.rate is not None) is alarms


def test_near_what_was_too_much_it_grows_slowly() -> None:
    throttle = twice_limited()
    before = throttle.rate
    assert before is not None
    answers(throttle, 3.0, 3.5, rate=60)

    assert throttle.rate is not None
    assert before < throttle.rate < before * 1.3


def test_a_server_that_counts_what_it_refuses_costs_little_time() -> None:
    """Where requests keep coming, it takes nothing at all."""
    lasts = [crowd(3_000, seed, lambda: SlidingWindow(100)).last for seed in SEEDS]

    assert statistics.median(lasts) <= 1.25 * ideal(3_000, lambda: SlidingWindow(100))


def test_a_success_after_a_row_returns_near_the_rate_that_was_right() -> None:
    throttle = twice_limited()
    before = throttle.rate
    assert before is not None
    for n in range(30):
        throttle.refused(3.0 + n / 20, throttle.epoch, Refusal())
    throttle.succeeded(5.0, throttle.epoch)

    assert throttle.rate is not None
    assert 0.6 * before < throttle.rate < before


def test_a_few_requests_a_minute_say_nothing_of_a_limit() -> None:
    throttle = Throttle()
    for n in range(100):
        now = 20.0 * n
        if n % 3:
            throttle.succeeded(now, throttle.epoch)
        else:
            throttle.refused(now, throttle.epoch, Refusal())

    assert throttle.rate is None


QUOTA = Refusal(wait=37.0, rate=10.0)


def test_a_quota_that_the_server_names_is_obeyed_without_a_trial() -> None:
    throttle = Throttle(longest=60)
    throttle.refused(100.0, 0, QUOTA)

    assert throttle.rate == pytest.approx(DEPTH * 10)
    assert throttle.delay(100.0) == 37
    answers(throttle, 137.0, 137.0 + QUOTA_LASTS, rate=9)
    assert throttle.rate == 10  # it grows up to the quota and no further
    answers(throttle, 137.0 + QUOTA_LASTS, 138.0 + QUOTA_LASTS, rate=9)
    assert throttle.rate == pytest.approx(10, rel=0.01)  # no burst: it asks for more from there on
    answers(throttle, 138.0 + QUOTA_LASTS, 139.0 + QUOTA_LASTS + QUIET, rate=9)
    assert throttle.rate is None


@pytest.mark.parametrize("wait", [99_999_999_999.0, None])
def test_a_quota_closes_the_client_for_no_longer_than_the_retry_allows(wait: float | None) -> None:
    throttle = Throttle(longest=60)
    throttle.refused(100.0, 0, Refusal(wait, rate=1e-9))

    assert throttle.rate == SLOWEST
    assert throttle.delay(100.0) == (0 if wait is None else 60)


# A crowd

SEEDS = range(5)


def crowd(
    runs: int,
    seed: int,
    limit: Callable[[], object],
    lasts: float = 4.0,
    took: float = 0.02,
    clients: int = 1,
    **server: object,
) -> Result:
    limited = LimitedServer(limit(), **server)  # type: ignore[arg-type]
    return Crowd(runs, limited, Throttled, seed, lasts, took, clients=clients).end()


@functools.cache
def ideal(
    runs: int, limit: Callable[[], object], lasts: float = 4.0, took: float = 0.02, **server: object
) -> float:
    """When the last run is seen to end where each request is sent at the moment in which the server takes it."""
    limited = LimitedServer(limit(), **server)  # type: ignore[arg-type]
    return Crowd(runs, limited, lambda: AllKnowing(limited), 0, lasts, took).end().last


def at_random(runs: int, seed: int, bad: float, policy: Callable[[], Unlimited] = Throttled) -> float:
    return Crowd(runs, LimitedServer(bad=bad), policy, seed).end().last


CLEAN = 7.1
"""Seconds until the end of the last of many runs of 4 seconds was seen, where nothing is refused."""


@pytest.mark.parametrize("runs", [50, 1_000])
def test_where_nothing_is_refused_nothing_is_slower(runs: int) -> None:
    assert max(at_random(runs, seed, 0.0) for seed in SEEDS) == pytest.approx(CLEAN, abs=0.3)


@pytest.mark.parametrize("runs", [50, 1_000])
@pytest.mark.parametrize("bad", [0.05, 0.1, 0.2, 0.4])
def test_refusals_at_random_hardly_delay_the_last_run(runs: int, bad: float) -> None:
    """As against the same client without a throttle."""
    ours = statistics.median(at_random(runs, seed, bad) for seed in SEEDS)
    without = statistics.median(at_random(runs, seed, bad, Unlimited) for seed in SEEDS)

    assert ours <= 1.1 * without


def test_a_slow_limit_is_told_from_chance() -> None:
    """At 13 instead of 19 requests a second a limit of 10 still refuses a quarter, instead of a half."""
    results = [crowd(300, seed, lambda: TokenBucket(10, 10), lasts=10.0) for seed in SEEDS]

    assert statistics.median(result.over_limit for result in results) < 0.25
    assert max(result.last for result in results) < 1.2 * 40


LOW = {
    "20/s": lambda: TokenBucket(20, 20),
    "20/s without a burst": lambda: TokenBucket(20, 1),
    "20/s, nginx": lambda: LeakyQueue(20, 10),
    "20/s, sliding window": lambda: SlidingWindow(20, counts_refused=False),
    "20/s, haproxy": lambda: SlidingWindow(20),
    "10/s": lambda: TokenBucket(10, 10),
}
"""Servers that take few requests a second."""


@pytest.mark.parametrize("shape", LOW)
@pytest.mark.parametrize("free", [0.0, 3.0], ids=["at once", "after a time without a limit"])
@pytest.mark.parametrize("took", [0.001, 0.02], ids=["answers in 1 ms", "in 20 ms"])
@pytest.mark.parametrize("says", [None, "Retry-After"])
def test_short_jobs_before_a_low_limit(shape: str, free: float, took: float, says: str | None) -> None:
    """Within 1.5 times the ideal where it is refused 60 times. Where only 15 times, each question counts.

    Without a burst half is refused at 1.1 times the limit, so the rate that is found is half of it.
    """
    found: dict[str, list[Result]] = {"ours": [], "ideal": []}
    for seed in range(3):
        for name, results in found.items():
            server = LimitedServer(LOW[shape](), free_until=free, says=says)
            policy = Throttled if name == "ours" else functools.partial(Ideal, server)
            results.append(Crowd(300, server, policy, seed, took=took).end())
    last, best = (statistics.median(result.last for result in results) for results in found.values())
    times, least = (statistics.median(result.refusals for result in results) for results in found.values())
    has_burst, in_flight = shape != "20/s without a burst", free == 0 and took == 0.02

    assert last <= (1.5 if has_burst or not free else 1.7) * best
    assert times <= (1.5 if in_flight else 2.1 if has_burst else 3) * least


def test_few_refusals_at_random_hardly_slow_a_limited_client() -> None:
    """One refusal is an alarm when the rate has grown, but not one in a hundred all the time."""
    results = [crowd(3_000, seed, lambda: TokenBucket(100), bad=0.01) for seed in range(3)]

    assert statistics.median(result.last for result in results) <= 1.2 * ideal(
        3_000, lambda: TokenBucket(100)
    )


TAKES_100 = {
    "burst 100": lambda: TokenBucket(100),
    "burst 10": lambda: TokenBucket(100, 10),
    "nginx": lambda: LeakyQueue(100, 20),
    "fixed window": lambda: FixedWindow(100),
    "fixed window that counts refusals": lambda: FixedWindow(100, counts_refused=True),
    "sliding window": lambda: SlidingWindow(100, counts_refused=False),
    "haproxy": lambda: SlidingWindow(100),
}
"""Servers that take 100 requests a second, each in its own way."""


@pytest.mark.parametrize("shape", TAKES_100)
@pytest.mark.parametrize("free", [0.0, 3.0], ids=["at once", "after a time without a limit"])
@pytest.mark.parametrize("took", [0.001, 0.02], ids=["answers in 1 ms", "in 20 ms"])
def test_a_limited_server_refuses_few(shape: str, free: float, took: float) -> None:
    limit = TAKES_100[shape]
    result = crowd(3_000, 0, limit, took=took, free_until=free)

    assert result.refused <= 0.06
    assert result.last <= 1.3 * ideal(3_000, limit, took=took, free_until=free)


@pytest.mark.parametrize("shape", TAKES_100)
@pytest.mark.parametrize("took", [0.001, 0.02], ids=["answers in 1 ms", "in 20 ms"])
def test_of_few_runs_the_requests_under_way_at_the_beginning_are_most_that_it_refuses(
    shape: str, took: float
) -> None:
    """50 of 1,300, where an answer takes 20 ms."""
    limit = TAKES_100[shape]
    results = [crowd(1_000, seed, limit, took=took) for seed in SEEDS]

    assert statistics.median(result.refused for result in results) <= 0.08
    assert max(result.refused for result in results) <= 0.09
    assert max(result.last for result in results) <= 1.35 * ideal(1_000, limit, took=took)


@pytest.mark.parametrize("says", ["Retry-After", "RateLimit"])
@pytest.mark.parametrize("seed", range(3))
def test_one_that_says_what_it_takes_refuses_fewer(says: str, seed: int) -> None:
    result = crowd(3_000, seed, lambda: TokenBucket(100), says=says)

    assert result.refused <= {"Retry-After": 0.055, "RateLimit": 0.03}[says]
    assert result.last <= 1.1 * ideal(3_000, lambda: TokenBucket(100))


@pytest.mark.parametrize(("says", "most"), [(None, 0.09), ("Retry-After", 0.065), ("RateLimit", 0.06)])
def test_a_quota_per_minute_is_not_probed_each_second(says: str | None, most: float) -> None:
    """Those under way when it ends are refused, 50 of 600; then 28 probes a minute, or as the server says."""
    results = [crowd(1_500, seed, lambda: FixedWindow(600, 60.0), says=says) for seed in range(3)]

    assert max(result.refused for result in results) <= most
    assert max(result.last for result in results) <= 1.2 * ideal(1_500, lambda: FixedWindow(600, 60.0))


@pytest.mark.parametrize("took", [0.001, 0.02])
@pytest.mark.parametrize(("places", "runs"), [(32, 4_000), (4, 1_000)])
def test_a_limit_on_concurrency_is_met_by_a_rate(places: int, runs: int, took: float) -> None:
    results = [crowd(runs, seed, lambda: Concurrency(places, 0.05), took=took) for seed in range(3)]

    assert max(result.refused for result in results) <= 0.08
    assert max(result.last for result in results) <= 1.4 * ideal(
        runs, lambda: Concurrency(places, 0.05), took=took
    )


def test_a_rate_that_changes_is_followed() -> None:
    """100, 10 and 1,000 a second, for ten seconds each."""
    results = [crowd(3_000, seed, lambda: ChangingRate(100, 10, 1_000), lasts=20.0) for seed in SEEDS]

    lasts, best = (
        [result.last for result in results],
        ideal(3_000, lambda: ChangingRate(100, 10, 1_000), 20.0),
    )
    assert statistics.median(lasts) <= 1.35 * best
    assert max(lasts) <= 1.6 * best
    assert max(result.refused for result in results) <= 0.08


@pytest.mark.parametrize("lasts", [4.0, 20.0])
def test_two_clients_share_a_limit(lasts: float) -> None:
    results = [crowd(3_000, seed, lambda: TokenBucket(100), lasts=lasts, clients=2) for seed in SEEDS]

    assert max(max(result.taken) / min(result.taken) for result in results) < 2
    assert statistics.median(result.refused for result in results) <= 0.08


@pytest.mark.thorough
def test_a_limited_server_with_a_bad_backend_refuses_few_for_its_limit() -> None:
    results = [crowd(5_000, seed, lambda: TokenBucket(100), lasts=30.0, bad=0.2) for seed in SEEDS]

    assert statistics.median(result.over_limit for result in results) < 0.065
    assert max(result.last for result in results) < 1.75 * ideal(5_000, lambda: TokenBucket(100), 30.0)


@pytest.mark.parametrize("runs", [50, 1_000])
@pytest.mark.parametrize("took", [0.001, 0.02])
def test_an_outage_costs_little_more_than_its_time(runs: int, took: float) -> None:
    for seed in SEEDS:
        server = LimitedServer(outage=(10.0, 40.0))
        result = Crowd(runs, server, Throttled, seed, 30.0, took).end()

        assert server.back_after <= 3
        assert result.in_outage <= 60  # those under way when it begins among them
        assert result.last < 40 + 12


def test_an_outage_may_end_in_a_limit() -> None:
    results = [crowd(2_000, seed, lambda: TokenBucket(100), outage=(0.0, 20.0)) for seed in range(3)]

    assert max(result.last for result in results) <= 1.2 * ideal(
        2_000, lambda: TokenBucket(100), outage=(0.0, 20.0)
    )
    assert max(result.refused for result in results) <= 0.08
