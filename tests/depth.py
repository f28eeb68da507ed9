"""How far random tests go: some of their examples are tried in the quick run, all of them with `--thorough`."""

import pytest
from hypothesis import settings

is_thorough = False
"""Set by conftest.py before a test is collected."""


def examples(number: int) -> settings:
    """A decorator above `given`: so many in the thorough run, a third of them in the quick one."""
    return settings(max_examples=number if is_thorough else number // 3, deadline=None)


def seeds(number: int) -> pytest.MarkDecorator:
    """Parametrizes `seed`: as many in the thorough run, a sixth of them in the quick one."""
    rest = [pytest.param(seed, marks=pytest.mark.thorough) for seed in range(number // 6, number)]
    return pytest.mark.parametrize("seed", [*range(number // 6), *rest])
