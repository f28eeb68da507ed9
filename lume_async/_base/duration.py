"""Durations: a number of seconds or a `timedelta`, checked where users pass them."""

import math
from datetime import timedelta
from typing import TypeAlias

from lume_async._base import arguments

Duration: TypeAlias = float | timedelta
"""A number of seconds or a `timedelta`, never negative."""


def seconds(value: Duration, name: str) -> float:
    """Return the duration in seconds. Raises `TypeError` for another type, `ValueError` if it is negative or NaN."""
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number too large for a float
            number = math.inf if value > 0 else -math.inf
    else:
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}")
    if math.isnan(number) or number < 0:
        raise ValueError(f"{name} must be zero or more seconds, not {arguments.shown(value)}")
    return number


def optional_seconds(value: Duration | None, name: str) -> float | None:
    """Return the duration in seconds; None (no limit) for None or infinity."""
    if value is None:
        return None
    number = seconds(value, name)
    return None if math.isinf(number) else number
