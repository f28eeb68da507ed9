"""The checks of arguments; `tests/test_arguments.py` tries them through every public function."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lume_async._base import arguments

LARGE = pytest.param(10**5000, id="10**5000")  # `repr` refuses it
SMALL = pytest.param(-(10**5000), id="-10**5000")


async def asynchronous() -> None: ...


@pytest.mark.parametrize("value", [asynchronous, partial(asynchronous), int])
def test_what_would_be_called_and_not_awaited(value: Any) -> None:
    assert arguments.plain_function(print, "it") is print
    with pytest.raises(TypeError, match="it must be a plain function, neither asynchronous nor a class"):
        arguments.plain_function(value, "it")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "None"), ("a" * 99, "'" + "a" * 59), pytest.param(10**5000, "such a large int", id="10**5000")],
)
def test_what_a_message_shows_of_a_value(value: Any, shown: str) -> None:
    assert arguments.shown(value) == shown


@pytest.mark.parametrize("value", [1, 10, 100])
def test_a_whole_number(value: int) -> None:
    assert arguments.whole(value, "limit", 1, 100) == value


@pytest.mark.parametrize("value", [0, 101, SMALL, LARGE, True, 1.0, math.nan, "1", None])
def test_no_whole_number_in_the_range(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^limit must be a whole number from 1 to 100, not "):
        arguments.whole(value, "limit", 1, 100)


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (2.5, 2.5), (10**300, 1e300)])
def test_a_number(value: float, number: float) -> None:
    assert arguments.number(value, "factor", 1) == number


@pytest.mark.parametrize("value", [0, -1.5, math.nan, math.inf, 10**400, LARGE])
def test_no_number_in_the_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^factor must be a finite number of at least 1, not "):
        arguments.number(value, "factor", 1)


@pytest.mark.parametrize("value", ["", " a", "a\n", "a\nb", "é", "a" * 256, b"a", None])
def test_a_secret_that_is_no_line_is_not_quoted(value: Any) -> None:
    with pytest.raises(KeyError) as caught:
        arguments.line(value, "lineage_key", 255, error=KeyError)
    said = "lineage_key must be 1 to 255 printable ASCII characters, without blanks around them"
    assert caught.value.args == (said,)


@pytest.mark.parametrize("value", ["a b.csv", Path("a"), "é\udcff.db"])
def test_a_path(value: Any) -> None:
    assert arguments.path(value, "path") == str(value)


@pytest.mark.parametrize("value", ["", "a\0b", "\ud800", Path("\ud800"), b"a", 5, None])
def test_what_can_not_name_a_file(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^path "):
        arguments.path(value, "path")


@pytest.mark.parametrize("value", ["ab", b"ab", 5, None])
def test_what_has_no_items(value: Any) -> None:
    with pytest.raises(
        TypeError, match=f"^hooks must be an iterable of functions, not {type(value).__name__}"
    ):
        arguments.several(value, "hooks", "functions")
