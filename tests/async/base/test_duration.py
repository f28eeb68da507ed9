import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from lume_async._base.duration import optional_seconds, seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (5, 5.0),
        (0.25, 0.25),
        (timedelta(minutes=2), 120.0),
        (timedelta(milliseconds=1), 0.001),
        (math.inf, math.inf),
        (10**400, math.inf),
    ],
)
def test_seconds(value: Any, expected: float) -> None:
    assert seconds(value, "timeout") == expected


@pytest.mark.parametrize("value", [-1, -0.001, -math.inf, math.nan, timedelta(seconds=-1), -(10**400)])
def test_what_is_negative_or_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be zero or more seconds"):
        seconds(value, "timeout")


@pytest.mark.parametrize("value", ["5", None, True, Decimal(5), [5], 5j])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds or a timedelta"):
        seconds(value, "timeout")


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (math.inf, None), (10**400, None), (3, 3.0), (0, 0.0)]
)
def test_no_limit_is_none(value: Any, expected: float | None) -> None:
    assert optional_seconds(value, "timeout") == expected
