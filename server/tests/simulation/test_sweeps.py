"""Every crash point of a scenario: a server or a worker is killed before and after it, and others go on."""

import pytest

from .scenarios import SCENARIOS, sweep, visit

STRIDE = 37
"""The quick run visits one point in so many; the thorough one more."""
PARTS = 8
"""Parts of a sweep, each in a test of its own; `python server/tests/simulation all` makes a sweep of all points."""
EACH = 19
"""The thorough run visits one point in so many: an odd number, so both sides of points come by, before and after."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_some_points(name: str) -> None:
    assert list(sweep(name, STRIDE))


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", SCENARIOS)
def test_more_points(name: str, part: int) -> None:
    assert list(sweep(name, EACH * PARTS, EACH * part))


@pytest.mark.thorough
@pytest.mark.parametrize("name", SCENARIOS)
def test_with_timers_like_those_of_uvloop(name: str) -> None:
    for number in range(0, len(visit(name, None, "uvloop").names), 15):
        visit(name, (number, bool(number % 2)), "uvloop")
