"""How far random tests go: a few examples in the quick run, more with `--thorough`, most of them every night."""

import os

import pytest
from hypothesis import settings

is_thorough = False
"""Set by conftest.py before a test is collected."""

TIMES = int(os.environ.get("LUME_TEST_TIMES", "1"))
"""How many times as far a thorough run goes; the nightly one goes twelve times as far."""
KILLS = 12 * TIMES
"""How many processes a thorough test of a target kills."""


def examples(number: int) -> settings:
    """A decorator above `given`: a third of them in the thorough run, a tenth in the quick one."""
    return settings(max_examples=number * TIMES // 3 if is_thorough else max(2, number // 10), deadline=None)


def seeds(number: int) -> pytest.MarkDecorator:
    """Parametrizes `seed`: a third of them in the thorough run, a thirtieth in the quick one."""
    few = max(1, number // 30)
    rest = [pytest.param(seed, marks=pytest.mark.thorough) for seed in range(few, number * TIMES // 3)]
    return pytest.mark.parametrize("seed", [*range(few), *rest])
