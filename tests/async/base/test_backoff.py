import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._base.backoff import POLLING, QUICK, Backoff, after_failure, polling


class Fixed:
    """A source of chance that has none."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


LOWEST, MIDDLE, HIGHEST = Fixed(0.0), Fixed(0.5), Fixed(math.nextafter(1.0, 0.0))


@pytest.mark.parametrize(
    ("backoff", "schedule"),
    [
        (Backoff(1), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Backoff(5, maximum=60), [5, 10, 20, 40, 60, 60]),
        (Backoff(0.5, factor=1.5, maximum=5), [0.5, 0.75, 1.125, 1.6875, 2.53125, 3.796875, 5, 5]),
        (Backoff(3, factor=1), [3, 3, 3]),
        (Backoff(100, maximum=60), [60, 60]),
        (Backoff(0), [0, 0, 0]),
        (Backoff(1, maximum=0), [0, 0]),
        (Backoff(timedelta(seconds=2), maximum=timedelta(seconds=5)), [2, 4, 5]),
        (Backoff.constant(7), [7, 7, 7]),
        (Backoff.constant(timedelta(minutes=1)), [60, 60]),
    ],
)
def test_the_schedule_without_chance(backoff: Backoff, schedule: list[float]) -> None:
    assert [backoff.delay(n, MIDDLE) for n in range(len(schedule))] == pytest.approx(schedule)


@pytest.mark.parametrize("n", [0, 3, 50])
def test_jitter_comes_after_the_cap(n: int) -> None:
    backoff = Backoff(60, maximum=60, jitter=0.25)

    assert backoff.delay(n, LOWEST) == 45
    assert backoff.delay(n, HIGHEST) == pytest.approx(75)


@pytest.mark.parametrize("n", [60, 1_023, 1_025, 10**6, 10**30])
@pytest.mark.parametrize("factor", [1.0, 1.01, 2.0, 1e300])
def test_a_patient_waiter_never_overflows(n: int, factor: float) -> None:
    assert Backoff(0.5, factor=factor, maximum=5).delay(n, MIDDLE) <= 5


@given(
    initial=st.floats(1e-6, 1e6),
    factor=st.floats(1, 100),
    maximum=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    n=st.integers(0, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_lies_around_its_base_and_never_shrinks(
    initial: float, factor: float, maximum: float, jitter: float, n: int, chance: float
) -> None:
    backoff = Backoff(initial, factor=factor, maximum=maximum, jitter=jitter)
    base = backoff.delay(n, MIDDLE)

    assert base <= maximum * (1 + 1e-9)
    assert base <= backoff.delay(n + 1, MIDDLE) * (1 + 1e-9)
    assert base * (1 - jitter) * 0.999 <= backoff.delay(n, Fixed(chance)) <= base * (1 + jitter) * 1.001


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"initial": -1}, ValueError),
        ({"initial": math.nan}, ValueError),
        ({"initial": "1"}, TypeError),
        ({"initial": None}, TypeError),
        ({"initial": 1, "factor": 0.5}, ValueError),
        ({"initial": 1, "factor": math.inf}, ValueError),
        ({"initial": 1, "factor": math.nan}, ValueError),
        ({"initial": 1, "maximum": -1}, ValueError),
        ({"initial": 1, "jitter": -0.1}, ValueError),
        ({"initial": 1, "jitter": 1.1}, ValueError),
        ({"initial": 1, "jitter": math.nan}, ValueError),
    ],
)
def test_bad_values_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Backoff(**arguments)


@pytest.mark.parametrize(
    ("interval", "backoff"),
    [
        (None, POLLING),
        (2, Backoff.constant(2)),
        (0, Backoff.constant(0)),
        (timedelta(seconds=3), Backoff.constant(3)),
        (Backoff(9), Backoff(9)),
    ],
)
def test_what_a_poll_interval_means(interval: Any, backoff: Backoff) -> None:
    assert polling(interval) == backoff


@pytest.mark.parametrize(("interval", "error"), [(-1, ValueError), ("5", TypeError), (True, TypeError)])
def test_a_bad_poll_interval_is_refused(interval: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="poll_interval"):
        polling(interval)


def test_the_default_grows_from_half_a_second_to_five() -> None:
    assert POLLING.delay(0, MIDDLE) == 0.5
    assert POLLING.delay(100, MIDDLE) == 5
    assert POLLING.jitter == 0.25


def test_a_failed_poll_is_repeated_quickly_and_in_an_outage_slower_and_slower() -> None:
    delays = [after_failure(60.0, failures, MIDDLE) for failures in range(1, 20)]

    assert delays == [0.25, 0.5, *[1.0] * 10, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("usual", [0.0, 0.1, 0.6])
def test_a_failed_poll_is_never_repeated_later_than_usual(usual: float) -> None:
    assert all(after_failure(usual, failures, HIGHEST) <= usual for failures in range(1, 12))


def test_many_polls_that_failed_together_are_not_repeated_in_step() -> None:
    assert after_failure(60.0, 3, LOWEST) == QUICK.maximum * 0.75
    assert after_failure(60.0, 3, HIGHEST) == pytest.approx(QUICK.maximum * 1.25)


@pytest.mark.parametrize("failures", [10**3, 10**9])
def test_an_outage_without_end_never_overflows(failures: int) -> None:
    assert after_failure(5.0, failures, MIDDLE) == 5.0
