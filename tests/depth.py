"""How far random tests go: few of their examples are tried in the quick run, all of them with `--thorough`."""

import os

import pytest
from hypothesis import settings

is_thorough = False
"""Set by conftest.py before a test is collected."""

KILLS = int(os.environ.get("LUME_TEST_KILLS", "12"))
"""How many processes a thorough test of a target kills."""


def examples(number: int) -> settings:
    """A decorator above `given`: so many in the thorough run, a tenth of them in the quick one."""
    return settings(max_examples=number if is_thorough else max(2, number // 10), deadline=None)


def seeds(number: int) -> pytest.MarkDecorator:
    """Parametrizes `seed`: as many in the thorough run, a thirtieth of them in the quick one."""
    few = max(1, number // 30)
    rest = [pytest.param(seed, marks=pytest.mark.thorough) for seed in range(few, number)]
    return pytest.mark.parametrize("seed", [*range(few), *rest])
