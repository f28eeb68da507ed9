"""How many random examples a test tries: a third in the quick run, all of them with `--thorough`."""

from hypothesis import settings

is_thorough = False
"""Set by conftest.py before a test is collected."""


def examples(number: int) -> settings:
    """A decorator, for `given` below it: so many in the thorough run."""
    return settings(max_examples=number if is_thorough else number // 3, deadline=None)
