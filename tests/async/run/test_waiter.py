"""The waiter's schedule, second by second, on a clock that takes no time."""

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._base.backoff import LAST_POLL, Backoff
from lume_async._run.waiter import Seen, Unfinished, Waiter
from lume_async.testing import FakeClock

START = 1_000.0
CONSTANT = Backoff.constant(10)
DOUBLING = Backoff(1, maximum=8, jitter=0)


class Probe:
    """Shows what the script says, one item per probe; the last one for ever.

    An item is a `Seen`, an exception, or a function that makes one of them.
    """

    def __init__(self, clock: FakeClock, *script: Any, took: float = 0.0) -> None:
        self.clock = clock
        self.script = list(script)
        self.took = took
        self.times: list[float] = []
        self.allowed: list[float | None] = []

    async def __call__(self, left: float | None) -> Seen[str]:
        self.times.append(self.clock.now() - START)
        self.allowed.append(left)
        item = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.clock.advance(self.took)
        if isinstance(item, Exception):
            raise item
        assert isinstance(item, Seen)
        return item


NOT_YET = Seen("not yet", done=False)
DONE = Seen("done", done=True)


def no_error(error: Exception) -> float | None:
    return None


def every_error(error: Exception) -> float | None:
    return 0.0


async def waited(
    probe: Probe,
    backoff: Backoff,
    timeout: float | None,
    tolerate: Callable[[Exception], float | None] = no_error,
    max_probes: int | None = None,
) -> str:
    return await Waiter(
        probe, backoff, timeout, probe.clock, random.Random(0), tolerate, max_probes=max_probes
    )


async def unfinished(*arguments: Any, **options: Any) -> Unfinished:
    with pytest.raises(Unfinished) as caught:
        await waited(*arguments, **options)
    return caught.value


@pytest.mark.parametrize("timeout", [0, 5, None])
async def test_what_is_done_at_once_costs_one_probe(timeout: float | None) -> None:
    probe = Probe(FakeClock(), DONE)

    assert await waited(probe, CONSTANT, timeout) == "done"
    assert probe.times == [0]
    assert probe.clock.sleeps == []


async def test_it_sleeps_the_back_offs_delays() -> None:
    probe = Probe(FakeClock(), *[NOT_YET] * 6, DONE)

    await waited(probe, DOUBLING, None)

    assert probe.clock.sleeps == [1, 2, 4, 8, 8, 8]
    assert probe.times == [0, 1, 3, 7, 15, 23, 31]


@pytest.mark.parametrize(
    ("timeout", "times", "allowed"),
    [
        (0, [0], [LAST_POLL]),
        (4, [0, 4], [4, LAST_POLL]),
        (10, [0, 10], [10, LAST_POLL]),
        (25, [0, 10, 20, 25], [25, 15, 5, LAST_POLL]),
        (30, [0, 10, 20, 30], [30, 20, 10, LAST_POLL]),
    ],
)
async def test_the_last_probe_starts_at_the_deadline(
    timeout: float, times: list[float], allowed: list[float]
) -> None:
    probe = Probe(FakeClock(), NOT_YET)

    late = await unfinished(probe, CONSTANT, timeout)

    assert probe.times == times
    assert probe.allowed == allowed
    assert (late.probes, late.last_error) == (len(times), None)


async def test_slow_probes_do_not_move_the_deadline() -> None:
    probe = Probe(FakeClock(), NOT_YET, took=3)

    await unfinished(probe, CONSTANT, 20)

    assert probe.times == [0, 13, 20]


async def test_a_probe_that_ends_after_the_deadline_is_followed_by_the_last_one() -> None:
    probe = Probe(FakeClock(), NOT_YET, took=30)

    await unfinished(probe, CONSTANT, 20)

    assert probe.times == [0, 30]
    assert probe.allowed == [20, LAST_POLL]


async def test_without_a_timeout_it_goes_on() -> None:
    probe = Probe(FakeClock(), *[NOT_YET] * 1_000, DONE)

    assert await waited(probe, CONSTANT, None) == "done"
    assert probe.times[-1] == 10_000
    assert set(probe.allowed) == {None}


# What the other side asks for


@pytest.mark.parametrize(
    ("not_before", "timeout", "times"),
    [
        (3, 60, [0, 10, 20, 30, 40, 50, 60]),  # shorter than the delay: changes nothing
        (25, 60, [0, 25, 50]),  # the third asks to stay away until after the deadline
        (30, 60, [0, 30, 60]),  # exactly the deadline is no later than it
        (61, 60, [0]),
        (math.inf, 60, [0]),
    ],
)
async def test_a_floor_is_kept_and_past_the_deadline_there_is_no_last_probe(
    not_before: float, timeout: float, times: list[float]
) -> None:
    probe = Probe(FakeClock(), Seen("not yet", done=False, not_before=not_before))

    await unfinished(probe, CONSTANT, timeout)

    assert probe.times == times


async def test_a_floor_of_a_failed_probe_counts_as_well() -> None:
    probe = Probe(FakeClock(), OSError("busy"), DONE)

    await waited(probe, CONSTANT, 60, lambda error: 25.0)

    assert probe.times == [0, 25]


async def test_a_held_answer_needs_no_sleep() -> None:
    probe = Probe(FakeClock(), Seen("not yet", done=False, waited=True), NOT_YET, DONE, took=30)

    await waited(probe, CONSTANT, None)

    assert probe.clock.sleeps == [0, 10]
    assert probe.times == [0, 30, 70]


async def test_a_held_answer_may_ask_for_a_pause_all_the_same() -> None:
    probe = Probe(FakeClock(), Seen("not yet", done=False, waited=True, not_before=7), DONE)

    await waited(probe, CONSTANT, None)

    assert probe.clock.sleeps == [7]


# Failures


async def test_an_error_that_is_not_tolerated_ends_the_wait() -> None:
    probe = Probe(FakeClock(), NOT_YET, PermissionError("no"))

    with pytest.raises(PermissionError):
        await waited(probe, CONSTANT, None)

    assert probe.times == [0, 10]


async def test_tolerated_errors_are_waited_out() -> None:
    probe = Probe(FakeClock(), OSError("1"), OSError("2"), DONE)

    assert await waited(probe, CONSTANT, 60, every_error) == "done"
    assert probe.times == pytest.approx([0, 0.25, 0.75], rel=0.25)


async def test_a_number_of_probes_is_not_used_up_by_quick_ones() -> None:
    probe = Probe(FakeClock(), OSError("1"), OSError("2"), NOT_YET)

    await unfinished(probe, CONSTANT, None, every_error, max_probes=3)

    assert probe.times == [0, 10, 20]


async def test_the_last_error_is_kept() -> None:
    last = OSError("3")
    probe = Probe(FakeClock(), OSError("1"), NOT_YET, last, NOT_YET)

    late = await unfinished(probe, CONSTANT, 15, every_error)

    assert late.last_error is last
    assert late.probes == 5


# Counting


@pytest.mark.parametrize(("max_probes", "times"), [(1, [0]), (2, [0, 5]), (7, [0, 5, 15, 35, 75, 135, 195])])
async def test_after_the_last_of_so_many_probes_there_is_no_sleep(max_probes: int, times: list[int]) -> None:
    probe = Probe(FakeClock(), NOT_YET)

    late = await unfinished(probe, Backoff(5, maximum=60, jitter=0), None, max_probes=max_probes)

    assert probe.times == times
    assert len(probe.clock.sleeps) == max_probes - 1
    assert late.probes == max_probes


async def test_the_deadline_may_come_before_the_last_of_so_many() -> None:
    probe = Probe(FakeClock(), NOT_YET)

    await unfinished(probe, CONSTANT, 15, max_probes=10)

    assert probe.times == [0, 10, 15]


async def test_a_cancelled_probe_is_no_error_to_tolerate() -> None:
    started = asyncio.Event()

    async def hangs(left: float | None) -> Seen[str]:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    waiter = Waiter(hangs, CONSTANT, None, FakeClock(), random.Random(0), every_error)

    async def wait() -> str:
        return await waiter

    task = asyncio.ensure_future(wait())
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


# Whatever the numbers are


def endless(items: list[Any]) -> Iterator[Any]:
    while True:
        yield from items


@given(
    initial=st.floats(0.01, 100),
    factor=st.floats(1, 4),
    maximum=st.floats(0.01, 100),
    jitter=st.floats(0, 1),
    timeout=st.floats(0, 500),
    took=st.floats(0.1, 50),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=5),
)
def test_no_sleep_goes_past_the_deadline(
    initial: float,
    factor: float,
    maximum: float,
    jitter: float,
    timeout: float,
    took: float,
    pauses: list[float],
) -> None:
    clock, script = FakeClock(), endless(pauses)
    times: list[float] = []

    async def probe(left: float | None) -> Seen[None]:
        times.append(clock.now() - START)
        assert left is not None
        assert 0 < left <= max(timeout, LAST_POLL) + 1e-6
        clock.advance(min(took, left))
        return Seen(None, done=False, not_before=next(script))

    waiter = Waiter(
        probe,
        Backoff(initial, factor=factor, maximum=maximum, jitter=jitter),
        timeout,
        clock,
        random.Random(0),
        no_error,
    )

    async def run() -> None:
        with pytest.raises(Unfinished) as caught:
            await waiter
        assert caught.value.probes == len(times)

    asyncio.run(run())

    assert times[0] == 0
    assert times[-1] <= timeout + 1e-6
    assert clock.now() - START <= timeout + LAST_POLL + 1e-6
    assert all(earlier <= later for earlier, later in itertools.pairwise(times))


async def test_failed_probes_lengthen_no_later_interval() -> None:
    probe = Probe(FakeClock(), *[OSError()] * 5, NOT_YET, NOT_YET, NOT_YET, DONE)
    await waited(probe, DOUBLING, None, every_error)

    between = [later - earlier for earlier, later in zip(probe.times, probe.times[1:], strict=False)]
    assert between[-3:] == pytest.approx([1, 2, 4])
