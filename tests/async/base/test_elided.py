"""Text that quotes data: bounded, readable, and stable."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_async._base.elided import LIMIT, bounded, elided

ANY_TEXT = st.text(st.characters(codec=None), max_size=2000)
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a 'b' ü €", "a 'b' ü €"),
        ("two\nlines", "two\nlines"),
        ("a\0b\x1b[31m\t\r", r"a\x00b\x1b[31m\t\r"),
        ("\udce9", r"\udce9"),
        ("x" * LIMIT, "x" * LIMIT),
    ],
)
def test_a_short_text_stays_as_far_as_it_can_be_seen(text: str, shown: str) -> None:
    assert elided(text) == shown


def test_of_a_long_text_the_middle_is_left_out() -> None:
    text = f"the beginning {'x' * 4_194_304} the end"
    shown = elided(text)
    assert len(shown) == LIMIT
    assert f"… ({len(text):,} characters) …" in shown
    assert shown.startswith("the beginning xxx")
    assert shown.endswith("xxx the end")
    assert elided("\0" * 4_194_304).count(r"\x00") >= 100
    assert "(4,194,304 characters)" in elided("\0" * 4_194_304)


def test_what_was_cut_keeps_its_length_in_a_longer_message() -> None:
    shown = elided("x" * 1_000_000)
    for _ in range(3):
        shown = elided(f"a message about {shown}: try again")
        assert len(shown) <= LIMIT
        assert "(1,000,000 characters)" in shown
        assert shown.startswith("a message about ")
        assert shown.endswith(": try again")


@given(ANY_TEXT, st.integers(min_value=60, max_value=700))
def test_it_is_bounded_seen_and_stable(text: str, limit: int) -> None:
    shown = elided(text, limit)
    assert len(shown) <= limit
    assert not CONTROL.search(shown)
    assert elided(shown, limit) == shown
    shown.encode()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (1.5, 1.5),
        ({"a": ["x" * 501, {"b": True}]}, {"a": [elided("x" * 501), {"b": True}]}),
        ({"x" * 501: 1, "y": 2}, {elided("x" * 501): 1, "y": 2}),
        ({f"{'x' * 400}{n}{'x' * 400}": n for n in (1, 2)}, {elided("x" * 801): 3}),
    ],
)
def test_of_json_every_text_is_bounded_and_no_count_is_lost(value: Any, found: Any) -> None:
    assert bounded(value) == found
