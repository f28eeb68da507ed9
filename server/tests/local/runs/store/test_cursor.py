"""Cursors of the change feed: ordered, opaque, and for ever those of one state."""

import pytest

from lume_local._http.exchange import Problem
from lume_local._http.queries import feed_cursor
from lume_local._runs.store.records import Cursor

ID = "5e3f1c2a"


@pytest.mark.parametrize("cursor", [Cursor(0, 0), Cursor(0, 18), Cursor(2**64 - 1, 10**18 - 1)])
def test_the_text_names_the_place_and_says_nothing(cursor: Cursor) -> None:
    text = cursor.text(ID)
    assert Cursor.of(text, ID) == cursor
    assert feed_cursor(text, ID) == cursor
    assert text.isascii()
    assert text.replace("_", "").isalnum()
    assert ID not in text


def test_a_transaction_comes_before_the_numbers_of_later_ones() -> None:
    places = [Cursor(0, 900), Cursor(7, 41), Cursor(7, 43), Cursor(8, 42)]
    assert sorted({*places}) == places


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-",
            "18",
            f"{ID}-",
            f"{ID}-x",
            f"{ID}-18",
            f"{ID}--1",
            f"{ID}-{'9' * 19}",
            "0000000-18",
            f"-{ID}-18",
        ),
        *("é", "MS4", "%", "M" * 5, "MS41ZTNmMWMyYS4wLjE4=", "MS41ZTNmMWMyYS4wLjE4\n", "\x00"),
        Cursor(0, 18).text("0000000"),
        Cursor(0, 18).text(f"{ID}.0"),
    ],
)
def test_what_is_no_cursor_of_this_state(text: str) -> None:
    with pytest.raises(Problem) as caught:
        feed_cursor(text, ID)
    assert caught.value.document["detail"].startswith("after is not a valid cursor")
